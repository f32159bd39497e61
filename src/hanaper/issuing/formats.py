"""From a generator to the format its keys are drawn in."""

from dataclasses import dataclass

from hanaper.issuing import custom, rules
from hanaper.licenses.key_formats import ChunkFormat, CustomFormat, KeyFormat, UuidFormat


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides about the look of a key: the fields of a generator that its method uses."""

    method: str
    prefix: str = ""
    suffix: str = ""
    function_name: str = ""
    number_of_chunks: int = 4
    chunk_length: int = 4
    charset: str = "0123456789ABCDEF"


def format_of(recipe: Recipe) -> KeyFormat:
    """The format of a recipe.

    Raises:
        NoSuchFunction: the function of a custom generator is not to be had.
    """
    match recipe.method:
        case rules.UUID:
            return UuidFormat(recipe.prefix, recipe.suffix)
        case rules.CHUNK_SYSTEM:
            return ChunkFormat(
                recipe.charset, recipe.number_of_chunks, recipe.chunk_length, recipe.prefix, recipe.suffix
            )
    return CustomFormat(custom.load(recipe.function_name), recipe.prefix, recipe.suffix)
