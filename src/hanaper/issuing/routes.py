"""POST /generate and GET /get-all-generators (protocol.md 4.1, 4.2)."""

from fastapi import APIRouter

from hanaper.clock import iso_z
from hanaper.issuing import store
from hanaper.issuing.generate import generate
from hanaper.issuing.large_order import LARGEST_AT_ONCE, LargeOrders
from hanaper.issuing.models import Generator
from hanaper.issuing.plan import Order
from hanaper.issuing.schemas import GenerateRequest, ListGeneratorsRequest
from hanaper.protocol import codes
from hanaper.protocol.payload import JsonValue
from hanaper.signing.answer import SignedAnswer
from hanaper.storage.patience import unhurried
from hanaper.web.call import Call
from hanaper.web.endpoint import endpoint

router = APIRouter(tags=["generators"])


@endpoint(
    router,
    "POST",
    "generate",
    shape=GenerateRequest,
    bad_fields=codes.INCORRECT_DATA_LICENSE_CREATE,
    license_keys=lambda fields: fields.quantity,
)
async def generate_license_keys(call: Call[GenerateRequest]) -> SignedAnswer:
    """Generate license keys: 815 with `licenseKeys`; 805, 806, 901, 902."""
    fields = call.fields
    order = Order(fields.generator_id, fields.quantity, fields.activation_limit, fields.validity_days)
    services = call.services
    if order.quantity > LARGEST_AT_ONCE:
        large_orders = LargeOrders(services.storage, services.signing, services.clock, services.large_orders)
        with unhurried():
            answer = await large_orders.issue(
                order, call.caller, call.request_id, call.snapshot, call.keyed, call.address
            )
        services.meter.batch(order.quantity)
        return answer
    issued = await generate(
        order,
        call.caller,
        call.request_id,
        call.snapshot,
        storage=services.storage,
        signing=services.signing,
        clock=services.clock,
        keyed=call.keyed,
        address=call.address,
    )
    services.meter.batch(order.quantity)
    return issued.answer


@endpoint(
    router, "GET", "get-all-generators", shape=ListGeneratorsRequest, bad_fields=codes.INCORRECT_DATA_LICENSE_CREATE
)
def get_all_generators(call: Call[ListGeneratorsRequest]) -> SignedAnswer:
    """List generators: 820 with `products`, the reference system's name for this list."""
    rows: list[JsonValue] = call.services.storage.read(
        lambda session: [
            _row(generator)
            for generator in store.listed(session, scope=call.caller.scope, product=call.fields.product_id)
        ]
    )
    return call.services.signing.answer(codes.ALL_GENERATORS, {"products": rows})


def _row(generator: Generator) -> dict[str, JsonValue]:
    return {
        "id": generator.id,
        "product_id": generator.product_id,
        "method": generator.method,
        "prefix": generator.prefix,
        "suffix": generator.suffix,
        "function_name": generator.function_name,
        "number_of_chunks": generator.number_of_chunks,
        "chunk_length": generator.chunk_length,
        "activation_limit": generator.activation_limit,
        "validity": generator.validity,
        "status": generator.status,
        "charset": generator.charset,
        "created_at": iso_z(generator.created_at),
        "updated_at": iso_z(generator.updated_at),
    }
