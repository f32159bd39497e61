"""What generators are made of: two numbers, then charset, prefix, suffix and names, a line each."""

from collections.abc import Iterator

from hanaper.issuing import generators, rules
from hanaper.issuing.formats import Recipe, format_of
from hanaper.licenses.key_formats import SEPARATOR, ChunkFormat
from hanaper.licenses.rules import license_key_fault
from hanaper.refusal import Invalid

DRAWN = 5


def run(data: bytes) -> None:
    if len(data) < 3:
        return
    charset, prefix, suffix, *names = [*data[3:].decode("utf-8", "replace").split("\n"), "", "", ""][:4]
    for name in names:
        assert rules.name_fault(name) is None or rules.name_fault(name)
        assert rules.function_name_fault(name) is None or rules.function_name_fault(name)
    method = rules.METHODS[data[0] % 2]
    recipe = Recipe(method, prefix, suffix, "", data[1], data[2], charset)
    try:
        strength = generators.check(recipe, expected_keys=data[0] * 1000 + 1)
    except Invalid as refused:
        assert "\n" not in str(refused) or "\n" in charset
        return
    assert strength is not None
    assert strength.bits >= rules.LEAST_BITS
    assert 0 <= strength.collision_odds <= 1
    assert strength.explained
    form = format_of(recipe)
    keys = form.draw(DRAWN)
    assert len(keys) == DRAWN
    for key in keys:
        assert license_key_fault(key) is None, key
        if isinstance(form, ChunkFormat):
            _is_made_as_said(form, key)


def seeds() -> Iterator[bytes]:
    yield b"\x00\x04\x04\n\n\nName"
    yield b"\x01\x04\x04" + b"0123456789ABCDEF\nPRO-\n-X\nmodule.function"
    yield b"\x01\x01\x40" + b"01\n\n\n"
    yield b"\x01\x20\x07" + "éß日😀\n\u2028\n é \n\0".encode()
    yield b"\x01\x20\x40" + b"ab\n\n\n"


def _is_made_as_said(form: ChunkFormat, key: str) -> None:
    drawn = key[len(form.prefix) : len(key) - len(form.suffix)]
    assert key == form.prefix + drawn + form.suffix
    size = form.chunk_length + 1
    for place, character in enumerate(drawn, 1):
        assert character == SEPARATOR if place % size == 0 else character in form.charset
    assert len(drawn) == form.number_of_chunks * size - 1
