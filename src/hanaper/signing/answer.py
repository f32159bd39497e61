"""A signed answer, and one that lacks its signature yet."""

from dataclasses import dataclass

from hanaper.protocol.codes import Code, SignedBy
from hanaper.protocol.envelope import seal
from hanaper.signing.signer import Signer


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """What goes out, and what the register records of it.

    Attributes:
        body: the HTTP body, an encoded envelope.
        http_status: of the code.
        code: the number of the code.
        key_id: id of the signing key that was used.
        kid: its public identifier.
        timestamp: Unix seconds, as in the payload.
        signature: the raw signature.
        payload: the exact bytes of `response`; empty for a long answer, which has them in its body alone.
    """

    body: bytes
    http_status: int
    code: int
    key_id: int
    kid: str
    timestamp: int
    signature: bytes
    payload: bytes


@dataclass(slots=True)
class BegunAnswer:
    """An answer that lacks its signature.

    Attributes:
        message: what is signed.
        is_common: others ask for the very same in this second: refusals, and above all 200.
    """

    code: Code
    key_id: int
    label: SignedBy
    timestamp: int
    signer: Signer
    payload: bytes
    message: bytes
    is_common: bool

    def end(self, signature: bytes) -> SignedAnswer:
        """The answer with its signature, which has been verified."""
        return SignedAnswer(
            body=seal(self.payload, self.message, self.label.value, signature),
            http_status=self.code.http_status,
            code=self.code.number,
            key_id=self.key_id,
            kid=self.signer.kid,
            timestamp=self.timestamp,
            signature=signature,
            payload=self.payload,
        )
