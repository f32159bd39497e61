"""hanaper with a planted fault: an error after a commit is told as if nothing had been done."""

from unittest.mock import patch

from hanaper.storage import writer

patch.object(writer, "_unknown", lambda error: error).start()
