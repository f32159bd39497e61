"""hanaper that looks for old idempotency records all the time: no fault, but a test cannot wait for ten minutes."""

from unittest.mock import patch

from hanaper.idempotency.purge import Purger

patch.dict(Purger.__init__.__kwdefaults__ or {}, look_every_s=0.1).start()
