"""A session with a token: finding keys, signing, making and deleting them."""

from dataclasses import dataclass, field

from pkcs11 import types
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism

from hanaper.signing.key_pair import published_numbers

LABEL = "hanaper "
"""What the labels of our keys begin with; the `kid` follows."""
NEVER_OUT = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
_UNNAMED = f"{LABEL}unfinished"
# DigestInfo of a SHA-256 (RFC 8017, 9.2), without the digest.
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


class NotInToken(Exception):
    """The token has no such key. The text says what it has instead."""


class TooOpen(Exception):
    """The token made a key that can be read out of it. It has been deleted again."""


@dataclass(slots=True)
class HeldSession:
    """A session, and the keys that have been found in it.

    Attributes:
        session: logged in.
        generation: of the library it belongs to.
    """

    session: types.Session
    generation: int
    _keys: dict[str, types.SignMixin] = field(default_factory=dict)

    def sign_digest(self, kid: str, public_pem: str, digest: bytes) -> bytes:
        """The raw PKCS#1 v1.5 signature of a message with this SHA-256.

        Raises:
            NotInToken: there is no such key.
        """
        key = self._keys.get(kid)
        if key is None:
            key = self._keys[kid] = self._find(kid, public_pem)
        return key.sign(_DIGEST_INFO + digest, mechanism=Mechanism.RSA_PKCS)

    def require(self, kid: str, public_pem: str) -> None:
        """Make sure that a key is there.

        Raises:
            NotInToken: it is not.
        """
        self._keys[kid] = self._find(kid, public_pem)

    def generate(self, bits: int) -> tuple[str, str]:
        """Make a key that stays in the token. Gives its public half and its `kid`.

        Raises:
            TooOpen: the token would give it away.
        """
        session = self.session.token.open(rw=True)
        try:
            halves = session.generate_keypair(
                KeyType.RSA,
                bits,
                store=True,
                label=_UNNAMED,
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                private_template={
                    Attribute.PRIVATE: True,
                    Attribute.DECRYPT: False,
                    Attribute.UNWRAP: False,
                    **NEVER_OUT,
                },
            )
            private = halves[1]
            if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
                for half in halves:
                    half.destroy()
                raise TooOpen
            public_pem, kid = _published(private)
            for half in halves:
                half[Attribute.ID] = bytes.fromhex(kid)
                half[Attribute.LABEL] = LABEL + kid
        finally:
            session.close()
        return public_pem, kid

    def destroy(self, kid: str) -> bool:
        """Delete a key, both halves of it. Gives whether there was one."""
        self._keys.pop(kid, None)
        session = self.session.token.open(rw=True)
        try:
            found = list(session.get_objects({Attribute.ID: bytes.fromhex(kid), Attribute.LABEL: LABEL + kid}))
            for half in found:
                half.destroy()
        finally:
            session.close()
        return bool(found)

    def kids(self) -> list[str]:
        """What follows our label on each private key that has it."""
        found = self.session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        labels = [str(key[Attribute.LABEL]) for key in list(found)]
        return sorted(label.removeprefix(LABEL) for label in labels if label.startswith(LABEL))

    def _find(self, kid: str, public_pem: str) -> types.SignMixin:
        wanted = {
            Attribute.CLASS: ObjectClass.PRIVATE_KEY,
            Attribute.KEY_TYPE: KeyType.RSA,
            Attribute.ID: bytes.fromhex(kid),
        }
        found = list(self.session.get_objects(wanted))
        for key in found:
            if isinstance(key, types.SignMixin) and _published(key)[0] == public_pem:
                return key
        raise NotInToken("its public half is not the published one" if found else "it is not there")


def _published(key: types.Object) -> tuple[str, str]:
    modulus, exponent = (int.from_bytes(key[name], "big") for name in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT))
    return published_numbers(modulus, exponent)
