"""A checkpoint as one word: what comes out of a log is the checkpoint again, and nothing else is one."""

import pytest

from hanaper.audit.rules import Checkpoint, from_token

CHECKPOINT = Checkpoint(3, 70, 71, bytes(range(32)), 1_795_800_000, "0123456789abcdef", b"signature")


def test_a_token_is_the_checkpoint() -> None:
    assert from_token(f" {CHECKPOINT.token}\n") == CHECKPOINT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        CHECKPOINT.token[2:],
        CHECKPOINT.token + "!",
        CHECKPOINT.token.rpartition(":")[0] + ":A",
        "2" + CHECKPOINT.token[1:],
        CHECKPOINT.token.replace(":70:", ":070:"),
        CHECKPOINT.token.replace(":3:", ":\u0663:"),
        CHECKPOINT.token + "=",
        CHECKPOINT.token + "==A",
    ],
    ids=[
        *("empty", "short", "no version", "more", "no base64", "another version", "a zero in front"),
        *("a digit of another script", "a sign too many", "behind the end of base64"),
    ],
)
def test_nothing_else_is_one(text: str) -> None:
    assert from_token(text) is None
