"""`hanaper generator`: how license keys are made."""

from typing import Annotated, Literal, TypeAlias

import typer

from hanaper.cli.change import change
from hanaper.cli.options import AsJson, DataDir, opened, reference
from hanaper.cli.output import note, print_json, print_row, print_rows
from hanaper.clock import iso_z
from hanaper.issuing import cap_store, caps, generators, store
from hanaper.issuing.draw import CannotDraw, Draw
from hanaper.issuing.formats import Recipe, format_of
from hanaper.issuing.models import Generator
from hanaper.issuing.rules import Strength
from hanaper.refusal import Invalid
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session

app = typer.Typer(help="Generators: how license keys are made.", no_args_is_help=True)

Method: TypeAlias = Annotated[
    Literal["uuid", "chunk-system", "custom"], typer.Option(help="uuid: random UUIDs, version 4.")
]
Prefix: TypeAlias = Annotated[str, typer.Option(help="Put before each key, as it stands.")]
Suffix: TypeAlias = Annotated[str, typer.Option(help="Put after each key, as it stands.")]
FunctionName: TypeAlias = Annotated[
    str, typer.Option(help="custom: the function's name under the entry points hanaper.generators.")
]
Chunks: TypeAlias = Annotated[int, typer.Option("--chunks", help="chunk-system: groups in a key.")]
ChunkLength: TypeAlias = Annotated[int, typer.Option(help="chunk-system: characters in a group.")]
Charset: TypeAlias = Annotated[str, typer.Option(help="chunk-system: the characters to draw from.")]
ExpectedKeys: TypeAlias = Annotated[
    int, typer.Option(help="How many keys it is going to make; the odds are computed for that.")
]


@app.command("add")
def add(
    product: Annotated[str, typer.Option(help="Id, UUID or slug of the product.")],
    method: Method = "uuid",
    name: Annotated[str, typer.Option(help="For people; the method by default.")] = "",
    prefix: Prefix = "",
    suffix: Suffix = "",
    function_name: FunctionName = "",
    number_of_chunks: Chunks = 4,
    chunk_length: ChunkLength = 4,
    charset: Charset = "0123456789ABCDEF",
    activation_limit: Annotated[int, typer.Option(help="Copied to each key; 0 is unlimited.")] = 0,
    validity: Annotated[int, typer.Option(help="Days, copied to each key; 0 is for ever.")] = 0,
    expected_keys: ExpectedKeys = generators.DEFAULT_EXPECTED_KEYS,
    cap: Annotated[
        int | None, typer.Option(help="The most keys it may ever make.", show_default="no such limit")
    ] = None,
    inactive: Annotated[bool, typer.Option("--inactive", help="Do not enable it yet.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Add a generator. One whose keys could be guessed is refused, and the arithmetic shown."""
    recipe = Recipe(method, prefix, suffix, function_name, number_of_chunks, chunk_length, charset)
    new = generators.NewGenerator(
        reference(product), recipe, name, activation_limit, validity, not inactive, expected_keys, cap
    )
    with opened(data_dir) as services:
        generator, strength = change(
            services,
            "generator add",
            lambda session: generators.create(session, new, scope=EVERYTHING, now=services.clock()),
        )
        print_row({**_row(generator), "cap": cap, **_arithmetic(strength)}, as_json=as_json)
    _explain(strength)


@app.command("preview")
def preview(
    method: Method = "uuid",
    prefix: Prefix = "",
    suffix: Suffix = "",
    function_name: FunctionName = "",
    number_of_chunks: Chunks = 4,
    chunk_length: ChunkLength = 4,
    charset: Charset = "0123456789ABCDEF",
    expected_keys: ExpectedKeys = generators.DEFAULT_EXPECTED_KEYS,
    quantity: Annotated[int, typer.Option(min=1, max=100, help="How many examples.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show examples of what a generator would make, and the arithmetic. Nothing is stored."""
    recipe = Recipe(method, prefix, suffix, function_name, number_of_chunks, chunk_length, charset)
    strength = generators.check(recipe, expected_keys)
    try:
        examples = Draw(format_of(recipe), quantity).keys
    except CannotDraw as error:
        raise Invalid(f"no examples: {error}") from error
    if as_json:
        print_json({"examples": examples, **_arithmetic(strength)})
    else:
        print("\n".join(examples))
        _explain(strength)


@app.command("list")
def list_generators(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the generators."""
    with opened(data_dir) as services:

        def look(session: Session) -> list[dict[str, object]]:
            issued, capped = store.issued(session, scope=EVERYTHING), cap_store.caps(session, scope=EVERYTHING)
            return [
                {
                    **_row(generator),
                    "generated": issued[generator.id].keys if generator.id in issued else 0,
                    "cap": capped[generator.id].cap if generator.id in capped else None,
                    "counted": capped[generator.id].issued if generator.id in capped else None,
                }
                for generator in store.listed(session, scope=EVERYTHING)
            ]

        print_rows(
            services.storage.read(look),
            (
                "id",
                "product_id",
                "name",
                "method",
                "prefix",
                "activation_limit",
                "validity",
                "active",
                "generated",
                "cap",
            ),
            as_json=as_json,
            empty="There are no generators yet.",
        )


@app.command("set-cap")
def set_cap(
    generator: Annotated[str, typer.Argument(help="Id or UUID.")],
    cap: Annotated[str, typer.Argument(help="The most keys it may ever make, or none.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Limit how many keys a generator may ever make. Those it has made count."""
    if cap != "none" and not (cap.isascii() and cap.isdigit()):
        raise Invalid(f"{cap!r} is no cap: use a number, or none")
    wanted = None if cap == "none" else int(cap[:20])

    def work(session: Session) -> dict[str, object]:
        row = caps.set_cap(session, reference(generator), wanted, scope=EVERYTHING, now=services.clock())
        counted = cap_store.cap_of(session, row.id, scope=EVERYTHING)
        return {**_row(row), "cap": wanted, "counted": None if counted is None else counted.issued}

    with opened(data_dir) as services:
        print_row(change(services, "generator set-cap", work), as_json=as_json)


@app.command("enable")
def enable(
    generator: Annotated[str, typer.Argument(help="Id or UUID.")], data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Let a generator make keys."""
    _switch(generator, data_dir, active=True, as_json=as_json)


@app.command("disable")
def disable(
    generator: Annotated[str, typer.Argument(help="Id or UUID.")], data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Stop a generator. Keys it has made stay valid."""
    _switch(generator, data_dir, active=False, as_json=as_json)


def _switch(generator: str, data_dir: DataDir, *, active: bool, as_json: bool) -> None:
    with opened(data_dir) as services:
        row = change(
            services,
            "generator enable" if active else "generator disable",
            lambda session: generators.switch(
                session, reference(generator), scope=EVERYTHING, active=active, now=services.clock()
            ),
        )
        print_row(_row(row), as_json=as_json)


def _row(generator: Generator) -> dict[str, object]:
    return {
        "id": generator.id,
        "uuid": generator.uuid,
        "product_id": generator.product_id,
        "name": generator.name,
        "method": generator.method,
        "prefix": generator.prefix,
        "suffix": generator.suffix,
        "function_name": generator.function_name,
        "number_of_chunks": generator.number_of_chunks,
        "chunk_length": generator.chunk_length,
        "charset": generator.charset,
        "activation_limit": generator.activation_limit,
        "validity": generator.validity,
        "active": generator.status == 1,
        "created_at": iso_z(generator.created_at),
    }


def _arithmetic(strength: Strength | None) -> dict[str, object]:
    if strength is None:
        return {"key_space": None, "bits": None, "collision_odds": None, "years_to_guess": None}
    return {
        "key_space": strength.key_space,
        "bits": round(strength.bits, 1),
        "collision_odds": strength.collision_odds,
        "years_to_guess": strength.years_to_guess,
    }


def _explain(strength: Strength | None) -> None:
    if strength is None:
        note("How many different keys a custom function makes, only its author can tell.")
    else:
        note(f"warning: {strength.warning}" if strength.warning else strength.explained)
