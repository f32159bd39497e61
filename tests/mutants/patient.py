"""hanaper with a planted fault: a request waits for the database as long as it takes."""

from unittest.mock import patch

from hanaper.storage.transactions import Storage

patch.object(Storage, "longest_request_s", None).start()
