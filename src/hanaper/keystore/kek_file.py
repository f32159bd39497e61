"""The file that holds the key encryption key: 32 bytes as base64, readable by its owner only."""

import base64
import binascii
import os
from pathlib import Path

from hanaper import secret_file
from hanaper.keystore.wrapping import KEY_BYTES, KeyEncryptionKey
from hanaper.refusal import Misconfigured


def read(file: Path, *, named_by_setting: bool) -> KeyEncryptionKey:
    """Read the key.

    Args:
        file: its path.
        named_by_setting: the file is a mounted secret that HANAPER_KEY_ENCRYPTION_KEY_FILE names. Orchestrators give
            those to a group, so the group may read it.

    Raises:
        Misconfigured: missing, not a file, readable by others, or not a key. One line, with the cure.
    """
    text = secret_file.read(
        file,
        what="the key encryption key",
        missing="put the file back from its backup, "
        "or name it by HANAPER_KEY_ENCRYPTION_KEY_FILE (a new installation makes one by `hanaper init`)",
        named_by_setting=named_by_setting,
    )
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unusable(file) from error
    if len(secret) != KEY_BYTES:
        raise _unusable(file)
    return KeyEncryptionKey(secret)


def create(file: Path) -> KeyEncryptionKey:
    """Make a key and its file, mode 0600. An existing file is never overwritten.

    Raises:
        Misconfigured: the file cannot be made.
    """
    secret = os.urandom(KEY_BYTES)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(base64.b64encode(secret) + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.link(unfinished, file)  # Whole or not at all, and never over an existing file.
        finally:
            unfinished.unlink()
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Misconfigured(f"the key encryption key {file} cannot be made: {error.strerror}") from error
    return KeyEncryptionKey(secret)


def _unusable(file: Path) -> Misconfigured:
    return Misconfigured(
        f"the key encryption key {file} is not {KEY_BYTES} bytes in base64, empty or damaged: "
        "put the file back from its backup"
    )
