"""Generators as an operator manages them: made, switched on and off."""

from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from hanaper.audit.record import about
from hanaper.issuing import cap_store, custom, rules, store
from hanaper.issuing.caps import cap_fault
from hanaper.issuing.formats import Recipe, format_of
from hanaper.issuing.models import Generator, GeneratorCap
from hanaper.licenses.rules import terms_fault
from hanaper.products import store as products
from hanaper.refusal import Invalid
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session

DEFAULT_EXPECTED_KEYS = 1_000_000


@dataclass(frozen=True, slots=True)
class NewGenerator:
    """What a generator is made from.

    Attributes:
        product: id, UUID or slug.
        name: for people; made from the method when empty.
        recipe: how a key looks.
        activation_limit: copied to each key; 0 is unlimited.
        validity: days, copied to each key; 0 is for ever.
        active: whether it may be used at once.
        expected_keys: how many keys it is going to make; the odds are computed for this number.
        cap: the most keys it may ever make; None for no such limit.
    """

    product: int | str
    recipe: Recipe
    name: str = ""
    activation_limit: int = 0
    validity: int = 0
    active: bool = True
    expected_keys: int = DEFAULT_EXPECTED_KEYS
    cap: int | None = None


def check(recipe: Recipe, expected_keys: int) -> rules.Strength | None:
    """Check how keys would look, and whether they can be guessed.

    Returns:
        The arithmetic of the key space; None for a custom function, of which nobody can tell.

    Raises:
        Invalid: a field breaks a rule, the function is not to be had, or there are too few different keys.
    """
    if recipe.method not in rules.METHODS:
        raise Invalid(f"there is no method {recipe.method!r}: choose from {', '.join(rules.METHODS)}")
    faults = [rules.affix_fault("prefix", recipe.prefix), rules.affix_fault("suffix", recipe.suffix)]
    length = len(recipe.prefix) + len(recipe.suffix)
    if recipe.method == rules.CHUNK_SYSTEM:
        faults.append(rules.charset_fault(recipe.charset))
        faults.append(rules.chunks_fault(recipe.number_of_chunks, recipe.chunk_length))
        length += recipe.number_of_chunks * (recipe.chunk_length + 1) - 1
    elif recipe.method == rules.UUID:
        length += rules.UUID_LENGTH
    else:
        faults.append(rules.function_name_fault(recipe.function_name))
    faults.append(rules.length_fault(length))
    if expected_keys < 1:
        faults.append("at least one key is expected of a generator")
    _refuse(*faults)
    try:
        key_space = format_of(recipe).key_space
    except custom.NoSuchFunction as error:
        offered = ", ".join(custom.names()) or "none"
        raise Invalid(f"{error}; offered are: {offered}. Install the package that has it first") from error
    if key_space is None:
        return None
    strength = rules.strength(key_space, expected_keys)
    _refuse(strength.fault)
    return strength


def create(
    session: Session, new: NewGenerator, *, scope: Scope, now: datetime
) -> tuple[Generator, rules.Strength | None]:
    """Store a generator.

    Returns:
        The row, and the arithmetic of its key space.

    Raises:
        Invalid: a field breaks a rule, or there is no such product.
    """
    recipe = new.recipe
    name = new.name or recipe.method
    _refuse(rules.name_fault(name), terms_fault(new.activation_limit, new.validity), cap_fault(new.cap))
    strength = check(recipe, new.expected_keys)
    product = products.find(session, new.product, scope=scope)
    if product is None:
        raise Invalid(f"there is no product {new.product!r}: see `hanaper product list`")
    row = Generator(
        uuid=str(uuid4()),
        product_id=product.id,
        name=name,
        method=recipe.method,
        prefix=recipe.prefix,
        suffix=recipe.suffix,
        function_name=recipe.function_name if recipe.method == rules.CUSTOM else "",
        number_of_chunks=recipe.number_of_chunks,
        chunk_length=recipe.chunk_length,
        charset=recipe.charset,
        activation_limit=new.activation_limit,
        validity=new.validity,
        status=int(new.active),
        created_at=now,
        updated_at=now,
    )
    store.add(session, row, scope=scope)
    about(session, generator=row.id, product=product.id)
    if new.cap is not None:
        cap_store.add(session, GeneratorCap(cap=new.cap, issued=0), row, scope=scope)
    return row, strength


def switch(session: Session, reference: int | str, *, scope: Scope, active: bool, now: datetime) -> Generator:
    """Enable or disable a generator. Keys it has made stay as they are.

    Raises:
        Invalid: there is no such generator.
    """
    found = store.find(session, reference, scope=scope)
    if found is None:
        raise Invalid(f"there is no generator {reference!r}: see `hanaper generator list`")
    generator, product = found
    about(session, generator=generator.id, product=product.id)
    generator.status = int(active)
    generator.updated_at = now
    return generator


def recipe_of(generator: Generator) -> Recipe:
    """How the keys of a stored generator look."""
    return Recipe(
        method=generator.method,
        prefix=generator.prefix,
        suffix=generator.suffix,
        function_name=generator.function_name,
        number_of_chunks=generator.number_of_chunks,
        chunk_length=generator.chunk_length,
        charset=generator.charset,
    )


def _refuse(*faults: str | None) -> None:
    found = [fault for fault in faults if fault is not None]
    if found:
        raise Invalid("; ".join(found))
