"""Whose rows a statement may touch: those of some products, or of all (decision 0025).

What belongs to a product outside of the scope does not exist: it is not loaded, not locked and not changed. Each
function of a store that requests use takes a `Scope` by name, without a default, and has it in its statement by
`within` or `owner_within`; statements of the hot path, which are text, by `SQLITE_WITHIN` and `POSTGRESQL_WITHIN`. An
INSERT has no WHERE: what stores a row calls `Scope.require`.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, SQLColumnExpression, exists, true


class OutsideScope(Exception):
    """Something was about to be stored for a product that does not exist for who asks: a bug, and nothing is stored."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The products that exist for somebody.

    Attributes:
        products: their ids; None for all there are, see `EVERYTHING`.
    """

    products: frozenset[int] | None

    def require(self, *product_ids: int | None) -> None:
        """Make sure that what is about to be stored belongs to these products.

        Args:
            product_ids: of each; None for a product that is new: only who has all may make one.

        Raises:
            OutsideScope: it does not.
        """
        if self.products is not None and not self.products.issuperset(product_ids):
            raise OutsideScope

    @property
    def array(self) -> str | None:
        """The products as PostgreSQL writes an array, for `POSTGRESQL_WITHIN`."""
        return None if self.products is None else f"{{{','.join(map(str, self.products))}}}"

    @property
    def numbers(self) -> list[int] | None:
        """The products as an array of JSON, for `SQLITE_WITHIN`."""
        return None if self.products is None else list(self.products)


EVERYTHING = Scope(None)
"""For the command line, for work in the background, and for API keys that are not limited to products."""


def within(scope: Scope, product_id: SQLColumnExpression[int | None]) -> ColumnElement[bool]:
    """The condition that a row belongs to a product in scope.

    Args:
        scope: whose rows.
        product_id: the column that says which product it belongs to.
    """
    return true() if scope.products is None else product_id.in_(scope.products)


def unsought(product_id: SQLColumnExpression[int]) -> ColumnElement[int]:
    """The column as no index has it, for `within` beside a condition that names the rows.

    SQLite guesses that a product has ten, and would go through all of a million to find the thousand that are named.
    """
    return product_id + 0


def owner_within(
    scope: Scope,
    reference: SQLColumnExpression[int],
    owner_id: SQLColumnExpression[int],
    owner_product_id: SQLColumnExpression[int],
) -> ColumnElement[bool]:
    """The same for a row that belongs to another row, which belongs to a product.

    EXISTS, one look by id: what stands in an IN may be listed in full before, which is a million license keys.

    Args:
        scope: whose rows.
        reference: the column that names the other row.
        owner_id: its id.
        owner_product_id: the column that says which product it belongs to.
    """
    if scope.products is None:
        return true()
    return exists().where(owner_id == reference, within(scope, unsought(owner_product_id)))


SQLITE_WITHIN = "({scope} IS NULL OR {product_id} IN (SELECT value FROM json_each({scope})))"
POSTGRESQL_WITHIN = "({scope} IS NULL OR {product_id} = ANY ({scope}::bigint[]))"
