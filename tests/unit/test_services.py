from typing import Any, cast

from hanaper.clock import utc_now
from hanaper.settings import Settings
from hanaper.web.services import Services


def test_nothing_secret_is_shown() -> None:
    floor = cast("Any", None)
    settings = Settings(database_url="postgresql://user:PASSWORD@host/name")
    services = Services(
        settings,
        utc_now,
        storage=floor,
        configuration=floor,
        keystore=floor,
        signing=floor,
        pepper=b"PEPPER",
        limiter=floor,
    )
    assert f"{services} {services!r}" == "Services() Services()"
