"""hanaper with a planted fault: nobody looks whether the database is in quarantine."""

from unittest.mock import patch

from hanaper.storage import quarantine


async def _look_away(_: object) -> None:
    pass


patch.object(quarantine, "require_none", lambda _: None).start()
patch.object(quarantine, "require_none_at", _look_away).start()
