"""Rules about products, on plain values."""

import re
import unicodedata
from collections.abc import Collection

LONGEST_NAME = 255
LONGEST_SLUG = 100
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LIKE_A_REFERENCE = re.compile(r"[0-9]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def slug_of(name: str) -> str:
    """A slug made from a name: lower case, accents dropped, hyphens for the rest; "product" where nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-")
    if not slug:
        return "product"
    return f"product-{slug}"[:LONGEST_SLUG] if _LIKE_A_REFERENCE.fullmatch(slug) else slug


def slug_fault(slug: str) -> str | None:
    """What is wrong with a slug; None when it is fine. One like an id or a UUID would be taken for one."""
    if len(slug) > LONGEST_SLUG or not _SLUG.fullmatch(slug) or _LIKE_A_REFERENCE.fullmatch(slug):
        return (
            f"a slug has 1 to {LONGEST_SLUG} lower-case letters, digits and single hyphens, "
            "and is neither a number nor a UUID"
        )
    return None


def name_fault(name: str) -> str | None:
    """What is wrong with a product's name; None when it is fine."""
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        return f"the name of a product has 1 to {LONGEST_NAME} printable characters"
    return None


def free_slug(slug: str, taken: Collection[str]) -> str:
    """A slug that is not taken: with a number behind it where it is."""
    number = 2
    found = slug
    while found in taken:
        tail = f"-{number}"
        found = slug[: LONGEST_SLUG - len(tail)].rstrip("-") + tail
        number += 1
    return found
