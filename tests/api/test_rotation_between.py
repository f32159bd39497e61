"""A key that is exchanged after an order was signed, and before it is stored: the answer is the new key's (T21)."""

from typing import Any

import pytest
from tests.conftest import SAMPLE_KEY, Installation
from tests.support.api import Api

from hanaper.keystore import rotate, store
from hanaper.keystore.keys import NewKey
from hanaper.protocol import codes
from hanaper.signing.answer import SignedAnswer
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.service import SigningService
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

ORDER = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 3}
PRODUCT = 1


def exchanged(installation: Installation, services: Services, pair: NewKey) -> str:
    """Exchange the product's key as another process does; returns the new one's `kid`."""
    with Storage.open(installation.settings) as elsewhere:

        def work(session: Any) -> str:
            now = services.clock()
            key = rotate.announce(session, pair, product_id=PRODUCT, keystore=services.keystore, now=now)
            return rotate.activate(session, key.kid, keystore=services.keystore, now=now).kid

        return elsewhere.write(work)


@pytest.mark.also_in_token
def test_what_was_signed_before_is_signed_again(
    api: Api, installation: Installation, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = services.keystore.token.generate(2048) if services.keystore.token else KeyPair.generate(2048)
    signed, kids = SigningService.answer_meanwhile, list[str]()
    new: list[str] = []

    async def answer(service: SigningService, code: codes.Code, *arguments: Any, **options: Any) -> SignedAnswer:
        found = await signed(service, code, *arguments, **options)
        if code is codes.GENERATED_LICENSE_KEYS:
            kids.append(found.kid)
            if not new:
                new.append(exchanged(installation, services, pair))
        return found

    monkeypatch.setattr(SigningService, "answer_meanwhile", answer)
    client = api.for_product(pair.public_pem)
    with client.http:
        got = client.post("/api/v1/generate", ORDER)
    assert (got.code, got.http.headers["x-signing-key-id"]) == (815, new[0])
    assert len(kids) == 2
    assert kids[0] != kids[1] == new[0]
    assert services.storage.read(lambda session: store.active_kid(session, PRODUCT)) == new[0]
