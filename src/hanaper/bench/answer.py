"""One answer, taken apart: a measurement of wrong answers is worth nothing."""

import json

import httpx

from hanaper.bench.installation import Installation
from hanaper.protocol import codes, envelope
from hanaper.refusal import Fault
from hanaper.signing.verifier import Verifier

_LONGEST_S = 60


def check_answer(url: str, installation: Installation, quantity: int) -> None:
    """Ask for license keys once, and check status, signature, code and number.

    Raises:
        Fault: it is not the answer that was asked for; the text says what is wrong.
    """
    form = {**installation.fields, "quantity": quantity}
    try:
        answer = httpx.post(url, data=form, timeout=_LONGEST_S, trust_env=False)
    except httpx.TransportError as error:
        raise Fault(f"the server does not answer: {type(error).__name__}") from error
    if answer.status_code != httpx.codes.OK:
        raise Fault(f"the server answers {answer.status_code}")
    try:
        received = envelope.decode(answer.content)
    except ValueError as error:
        raise Fault(f"the answer is wrong: {error}") from error
    if not Verifier.from_pem(installation.public_key.read_bytes()).accepts_envelope(received):
        raise Fault("the answer is wrong: its signature does not verify")
    payload = json.loads(received.payload_bytes)
    if payload["code"] != codes.GENERATED_LICENSE_KEYS.number:
        raise Fault(f"the answer is wrong: code {payload['code']}")
    different = len(set(payload["licenseKeys"]))
    if different != quantity:
        raise Fault(f"the answer is wrong: {different} different license keys where {quantity} were asked for")
