"""Checkpoints of the audit log as words, out of somebody's notes."""

from collections.abc import Iterator

from hanaper.audit.rules import Checkpoint, from_token

CHECKPOINT = Checkpoint(3, 70, 71, bytes(range(32)), 1_795_800_000, "0123456789abcdef", b"signature\xfb\xff")


def run(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = from_token(text)
    if found is not None:
        # One checkpoint, one word.
        assert found.token == text.strip()
        assert len(found.hash) == 32
        found.statement.decode("ascii")


def seeds() -> Iterator[bytes]:
    word = CHECKPOINT.token
    for text in (word, f" {word}\n", word.replace(":70:", ":007:"), word[:-1], word + "=", word.replace("_", "/")):
        yield text.encode()
    yield word.replace(":3:", ":٣:").encode()
