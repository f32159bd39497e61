"""The token that the settings name."""

from pathlib import Path
from typing import TYPE_CHECKING

from hanaper.refusal import Misconfigured
from hanaper.settings import Settings

if TYPE_CHECKING:
    from hanaper.token.token import Token


def configured(settings: Settings) -> "Token | None":
    """The token of an installation; None where its keys are in the database. Nothing is opened yet.

    Raises:
        Misconfigured: the library for tokens is not installed.
    """
    if settings.pkcs11_module is None or settings.pkcs11_pin_file is None:
        return None
    try:
        from hanaper.token.token import token_of  # noqa: PLC0415 -- who has no token does without the library
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "pkcs11":
            raise
        raise Misconfigured(
            "HANAPER_PKCS11_MODULE names a token, and the library for tokens is not installed: "
            "pip install 'hanaper[pkcs11]', or python-pkcs11"
        ) from error
    return token_of(_absolute(settings.pkcs11_module), settings.pkcs11_token, _absolute(settings.pkcs11_pin_file))


def _absolute(file: Path) -> Path:
    return file.expanduser().absolute()
