"""Rules about products, on plain values."""

import re
import unicodedata

LONGEST_NAME = 255
LONGEST_SLUG = 100
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_ONLY_DIGITS = re.compile(r"[0-9]+")


def slug_of(name: str) -> str:
    """A slug made from a name: lower case, accents dropped, hyphens for the rest; "product" where nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-")
    if not slug:
        return "product"
    return f"product-{slug}"[:LONGEST_SLUG] if _ONLY_DIGITS.fullmatch(slug) else slug


def slug_fault(slug: str) -> str | None:
    """What is wrong with a slug; None when it is fine. All digits would be taken for an id."""
    if len(slug) > LONGEST_SLUG or not _SLUG.fullmatch(slug) or _ONLY_DIGITS.fullmatch(slug):
        return f"a slug has 1 to {LONGEST_SLUG} lower-case letters, digits and single hyphens, and not only digits"
    return None


def name_fault(name: str) -> str | None:
    """What is wrong with a product's name; None when it is fine."""
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        return f"the name of a product has 1 to {LONGEST_NAME} printable characters"
    return None
