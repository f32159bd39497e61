"""hanaper with a planted fault: it closes its port without turning away first who is still to come."""

from unittest.mock import patch

from hanaper.web import drain, supervisor

for module in (drain, supervisor):
    patch.object(module, "LAST_CALL_S", 0.0).start()
    patch.object(module, "turn_away", lambda _: None).start()
