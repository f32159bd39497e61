"""POST /generate, as a caller sees it, and what stands in the database afterwards."""

import base64
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select
from tests.conftest import SAMPLE_KEY, Installation, client_of
from tests.support.api import Answer, Api, Encoding, serving
from tests.support.world import World, add_generator, counts

from hanaper.access import key_format
from hanaper.access import store as access
from hanaper.app import create_app, open_services
from hanaper.issuing.formats import Recipe
from hanaper.issuing.models import Batch, Generator
from hanaper.keystore.models import SigningKey
from hanaper.licenses.models import LicenseKey
from hanaper.protocol import payload
from hanaper.settings import QUANTITY_CEILING
from hanaper.signing.verifier import Verifier
from hanaper.storage.session import Session

GENERATE = "/api/v1/generate"
ENCODINGS: tuple[Encoding, ...] = ("form", "multipart", "json")
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("base_path", ["/api/v1", "/v1"])
def test_the_documented_request_gives_ten_signed_keys(world: World, encoding: Encoding, base_path: str) -> None:
    fields = {"api_key": SAMPLE_KEY, "generator_id": "1", "quantity": "10"}
    answer = world.api.post(f"{base_path}/generate", fields, encoding=encoding)
    assert answer.status == 200
    assert answer.signed_by == "product"
    assert list(answer.payload) == ["code", "message", "licenseKeys", "timestamp"]
    assert answer.payload["code"] == 815
    assert answer.payload["message"] == "Generated license keys"
    keys = answer.payload["licenseKeys"]
    assert len(set(keys)) == 10
    assert all(UUID4.fullmatch(key) for key in keys)


def ask(world: World, fields: dict[str, Any], encoding: Encoding = "form", key: str = "good") -> Answer:
    answer = world.api.post(GENERATE, {"api_key": world.keys[key], **fields}, encoding=encoding)
    assert answer.code == 815, answer.payload
    assert (answer.status, answer.signed_by) == (200, "product")
    return answer


def stored(world: World, answer: Answer) -> tuple[Batch, list[LicenseKey]]:
    """The batch of an answer, found by its request id, and its keys in order of id."""

    def find(session: Session) -> tuple[Batch, list[LicenseKey]]:
        request_id = answer.http.headers["x-request-id"]
        batch = session.scalars(select(Batch).where(Batch.request_id == request_id)).one()
        keys = select(LicenseKey).where(LicenseKey.batch_id == batch.id).order_by(LicenseKey.id)
        return batch, list(session.scalars(keys))

    return world.storage.read(find)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_answered_is_what_is_stored(world: World, encoding: Encoding) -> None:
    before = counts(world.storage)
    generator = world.generators["chunks"]
    answer = ask(world, {"generator_id": generator, "quantity": 5}, encoding)
    batch, keys = stored(world, answer)
    after = counts(world.storage)
    assert (after.license_keys, after.batches) == (before.license_keys + 5, before.batches + 1)
    assert [key.license_key for key in keys] == answer.payload["licenseKeys"]
    for key in keys:
        assert key.status == "available"
        assert (key.product_id, key.generator_id, key.batch_id) == (world.products["demo"], generator, batch.id)
        assert (key.activation_limit, key.validity) == (3, 365)
        assert key.source == "generator"
        assert (key.owner_name, key.owner_email, key.assigned_at, key.deleted_at) == (None, None, None, None)
        assert key.created_at == key.updated_at == batch.created_at
    assert batch.quantity == 5
    assert (batch.product_id, batch.generator_id) == (world.products["demo"], generator)
    digest = key_format.digest(world.services.pepper, world.keys["good"])
    api_key = world.storage.read(lambda session: access.find_api_key(session, digest))
    assert api_key is not None
    assert batch.api_key_id == api_key.id


@pytest.mark.parametrize("generator", ["chunks", "exotic", "demo"])
def test_the_signature_can_be_checked_again_from_what_is_stored(world: World, generator: str) -> None:
    answer = ask(world, {"generator_id": world.generators[generator], "quantity": 3})
    batch, keys = stored(world, answer)
    rebuilt = payload.encode(
        {
            "code": 815,
            "message": "Generated license keys",
            "licenseKeys": [key.license_key for key in keys],
            "timestamp": batch.signed_at,
        }
    )
    assert base64.b64encode(rebuilt).decode() == answer.http.json()["response_base64"]
    assert base64.b64encode(batch.signature).decode() == answer.http.json()["signature"]
    signing_key = world.storage.read(lambda session: session.get(SigningKey, batch.signing_key_id))
    assert signing_key is not None
    assert (signing_key.product_id, signing_key.state) == (world.products["demo"], "active")
    assert signing_key.kid == answer.http.headers["x-signing-key-id"]
    assert Verifier.from_pem(signing_key.public_pem.encode()).accepts(base64.b64encode(rebuilt), batch.signature)


def test_a_product_that_was_made_after_the_start_signs_with_its_own_key(world: World) -> None:
    fields = {"api_key": world.keys["other product"], "generator_id": world.generators["other"], "quantity": 2}
    answer = world.other_api.post(GENERATE, fields)
    assert (answer.code, answer.signed_by) == (815, "product")
    batch, keys = stored(world, answer)
    assert {key.product_id for key in keys} == {batch.product_id} == {world.products["other"]}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("override", "terms"),
    [
        ({}, (3, 365)),
        ({"activation_limit": "7"}, (7, 365)),
        ({"activation_limit": "0"}, (0, 365)),
        ({"activation_limit": "-1"}, (0, 365)),
        ({"activation_limit": "2147483647"}, (2147483647, 365)),
        ({"activation_limit": ""}, (3, 365)),
        ({"validity_days": "30"}, (3, 30)),
        ({"validity": "30"}, (3, 30)),
        ({"validity_days": "0"}, (3, 0)),
        ({"validity_days": "1000000"}, (3, 1000000)),
        ({"validity_days": "", "validity": "30"}, (3, 30)),
        ({"validity_days": "31", "validity": "30"}, (3, 31)),
        ({"activation_limit": "1", "validity_days": "2"}, (1, 2)),
    ],
)
def test_terms_are_copied_from_the_generator_unless_the_request_has_its_own(
    world: World, encoding: Encoding, override: dict[str, str], terms: tuple[int, int]
) -> None:
    answer = ask(world, {"generator_id": world.generators["chunks"], "quantity": "2", **override}, encoding)
    _, keys = stored(world, answer)
    assert {(key.activation_limit, key.validity) for key in keys} == {terms}


def test_later_edits_of_a_generator_do_not_touch_its_keys(world: World) -> None:
    generator = add_generator(world.services, world.products["demo"], Recipe("uuid"))
    answer = ask(world, {"generator_id": generator, "quantity": 1})

    def edit(session: Session) -> None:
        row = session.get(Generator, generator)
        assert row is not None
        row.activation_limit, row.validity = 99, 99

    world.storage.write(edit)
    _, keys = stored(world, answer)
    assert (keys[0].activation_limit, keys[0].validity) == (3, 365)
    _, keys = stored(world, ask(world, {"generator_id": generator, "quantity": 1}))
    assert (keys[0].activation_limit, keys[0].validity) == (99, 99)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "fields",
    [
        {"generator_id": "ID", "quantity": "2"},
        {"generator_id": "UUID", "quantity": "2"},
        {"generator_id": "UPPER", "quantity": "2"},
        {"generator_uuid": "UUID", "quantity": "2"},
        {"generator_uuid": "ID", "quantity": "2"},
        {"generator_id": "", "generator_uuid": "UUID", "quantity": "2"},
        {"generator_id": "UUID", "generator_uuid": "999999", "quantity": "2"},
        {"generator_id": "ID", "count": "2"},
        {"generator_id": "ID", "quantity": "", "count": "2"},
        {"generator_id": "ID", "quantity": "2", "count": "999999"},
        {"generator_id": " ID ", "quantity": " 2\t"},
        {"generator_id": "00ID", "quantity": "0002"},
        {"generator_id": "ID", "quantity": "2", "metadata": "x", "cache_ttl": "5", "user_id": "7"},
    ],
)
def test_parameters_go_by_several_names_and_unknown_ones_are_ignored(
    world: World, encoding: Encoding, fields: dict[str, str]
) -> None:
    uuid = world.uuid_of("chunks")
    names = {"UUID": uuid, "UPPER": uuid.upper(), "ID": str(world.generators["chunks"])}
    asked = {
        name: next((value.replace(word, text) for word, text in names.items() if word in value), value)
        for name, value in fields.items()
    }
    batch, keys = stored(world, ask(world, asked, encoding))
    assert (batch.generator_id, len(keys)) == (world.generators["chunks"], 2)


@pytest.mark.parametrize("generator", [1, "1"])
@pytest.mark.parametrize("quantity", [3, "3"])
def test_json_numbers_may_be_numbers_or_text(world: World, generator: int | str, quantity: int | str) -> None:
    fields: dict[str, Any] = {"generator_id": generator, "quantity": quantity, "extra": [{}]}
    fields |= {"activation_limit": -1, "validity_days": 0}
    _, keys = stored(world, ask(world, fields, "json"))
    assert [(key.activation_limit, key.validity) for key in keys] == [(0, 0)] * 3


@pytest.mark.parametrize("terms", [{"activation_limit": None}, {"validity_days": None}, {"validity_days": ""}])
def test_null_and_empty_text_count_as_absent(world: World, terms: dict[str, str | None]) -> None:
    fields = {"generator_id": world.generators["chunks"], "quantity": 1, **terms}
    _, keys = stored(world, ask(world, fields, "json"))
    assert (keys[0].activation_limit, keys[0].validity) == (3, 365)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"api_key=KEY&generator_id=1&quantity=2"),
        ("application/json", b'{"api_key":"KEY","generator_id":1,"quantity":2}'),
        (
            "multipart/form-data; boundary=X",
            (
                b'--X\r\nContent-Disposition: form-data; name="api_key"\r\n\r\nKEY\r\n'
                b'--X\r\nContent-Disposition: form-data; name="generator_id"\r\n\r\n1\r\n'
                b'--X\r\nContent-Disposition: form-data; name="quantity"\r\n\r\n2\r\n--X--\r\n'
            ),
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_in_chunks_needs_no_content_length(world: World, content_type: str, body: bytes, size: int) -> None:
    whole = body.replace(b"KEY", world.keys["good"].encode())

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(whole), size):
            yield whole[start : start + size]

    response = world.api.http.post(GENERATE, content=chunks(), headers={"Content-Type": content_type})
    assert "content-length" not in response.request.headers
    answer = world.api.check(response)
    assert answer.code == 815
    assert len(answer.payload["licenseKeys"]) == 2


def test_chunks_are_joined_by_hyphens_and_nothing_else_is_added(world: World) -> None:
    answer = ask(world, {"generator_id": world.generators["chunks"], "quantity": 50})
    form = re.compile(r"PRO-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-X")
    assert all(form.fullmatch(key) for key in answer.payload["licenseKeys"])


def test_prefix_and_suffix_stand_as_they_are_in_exactly_the_documented_bytes(world: World) -> None:
    answer = ask(world, {"generator_id": world.generators["exotic"], "quantity": 2})
    for key in answer.payload["licenseKeys"]:
        before, after = "é/日本\\\"'<&😀-", "/ß"
        assert key.startswith(before)
        assert key.endswith(after)
        assert UUID4.fullmatch(key[len(before) : -len(after)])
    signed = base64.b64decode(answer.http.json()["response_base64"])
    head = rb'{"code":815,"message":"Generated license keys","licenseKeys":["\u00e9\/\u65e5\u672c\\\"'
    head += rb"'<&\ud83d\ude00-"
    assert signed.startswith(head)
    assert re.search(rb'\\/\\u00df"\],"timestamp":[0-9]+}$', signed)
    assert answer.http.content.startswith(b'{"response":' + signed + b',"response_base64":"')


def test_an_operator_may_fill_the_longest_key(world: World) -> None:
    recipe = Recipe("chunk-system", "<" * 64, ">" * 63, "", 2, 63, "0123456789ABCDEF")
    generator = add_generator(world.services, world.products["demo"], recipe)
    answer = ask(world, {"generator_id": generator, "quantity": 3})
    assert {len(key) for key in answer.payload["licenseKeys"]} == {254}


@pytest.mark.parametrize("quantity", [1, 999, 1000])
def test_up_to_a_thousand_keys_in_one_call(world: World, quantity: int) -> None:
    before = counts(world.storage)
    answer = ask(world, {"generator_id": 1, "quantity": quantity})
    assert len(set(answer.payload["licenseKeys"])) == quantity
    after = counts(world.storage)
    assert (after.license_keys - before.license_keys, after.batches - before.batches) == (quantity, 1)


def test_an_operator_may_allow_larger_batches(installation: Installation) -> None:
    settings = installation.settings.model_copy(update={"max_quantity": QUANTITY_CEILING})
    services = open_services(settings)
    with serving(create_app(services)) as base_url:
        api = client_of(base_url, installation.installed)
        fields = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 20_000}
        answer = api.post(GENERATE, fields)
        assert answer.code == 815
        assert len(set(answer.payload["licenseKeys"])) == 20_000
        assert counts(services.storage).license_keys == 20_000
        answer = api.post(GENERATE, {**fields, "quantity": QUANTITY_CEILING + 1})
        assert answer.errors == {"quantity": ["The quantity field must not be greater than 100000."]}
        api.http.close()


def test_many_callers_at_once_get_different_keys_and_every_one_is_stored(world: World) -> None:
    before = counts(world.storage)
    quantities = [1, 2, 3, 10, 4] * 40

    def call(quantity: int) -> list[str]:
        answer = ask(world, {"generator_id": world.generators["chunks"], "quantity": quantity})
        batch, keys = stored(world, answer)
        assert batch.quantity == len(keys) == quantity
        license_keys: list[str] = answer.payload["licenseKeys"]
        assert [key.license_key for key in keys] == license_keys
        return license_keys

    with ThreadPoolExecutor(8) as threads:
        answered = [key for keys in threads.map(call, quantities) for key in keys]
    assert len(answered) == len(set(answered)) == sum(quantities)
    after = counts(world.storage)
    assert after.license_keys - before.license_keys == sum(quantities)
    assert after.batches - before.batches == len(quantities)


def test_a_running_server_of_its_own_starts_with_nothing_issued(api: Api, installation: Installation) -> None:
    """The shared server is not all there is: the same request on an installation that is new."""
    answer = api.post(GENERATE, {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 2}, encoding="json")
    assert answer.code == 815
    with open_services(installation.settings).storage as storage:
        assert (counts(storage).license_keys, counts(storage).batches) == (2, 1)
    assert json.loads(answer.http.content)["response"] == answer.payload
