"""Rules about license keys, on plain values."""

LONGEST_KEY = 255
"""The WooCommerce plugin's column is varchar(255) (protocol.md 5.3)."""

MOST_ACTIVATIONS = 2_147_483_647
LONGEST_VALIDITY_DAYS = 1_000_000

AVAILABLE = "available"
FROM_GENERATOR = "generator"
MANUAL = "manual"
STATUSES = ("available", "assigned", "reserved", "blocked")


def license_key_fault(license_key: str) -> str | None:
    """What is wrong with a license key; None when it is fine."""
    # The API trims what it is asked for, so a key with blanks around it could never be found.
    if not 0 < len(license_key) <= LONGEST_KEY or not license_key.isprintable() or license_key != license_key.strip():
        return f"a license key has 1 to {LONGEST_KEY} printable characters, and no blanks around it"
    return None


def terms_fault(activation_limit: int, validity: int) -> str | None:
    """What is wrong with the terms of a license key; None when they are fine."""
    if not 0 <= activation_limit <= MOST_ACTIVATIONS:
        return f"an activation limit is 0 (unlimited) to {MOST_ACTIVATIONS:,}, not {activation_limit}"
    if not 0 <= validity <= LONGEST_VALIDITY_DAYS:
        return f"a validity is 0 (for ever) to {LONGEST_VALIDITY_DAYS:,} days, not {validity}"
    return None
