"""hanaper with a planted fault: an answer is repeated, whether or not the standby has it."""

from unittest.mock import patch

from hanaper.storage.transactions import Storage

patch.object(Storage, "confirm", lambda _: None).start()
