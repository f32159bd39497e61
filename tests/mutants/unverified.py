"""hanaper with a planted fault: signatures go out without having been verified."""

from unittest.mock import patch

from hanaper.signing.verifier import Verifier

patch.object(Verifier, "accepts_digest", lambda *_: True).start()
