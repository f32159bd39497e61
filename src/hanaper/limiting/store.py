"""Queries about budgets on PostgreSQL: bulk reads, as `storage.bulk` has it, that write to a table nobody syncs.

A transaction that only writes to an unlogged table waits neither for the disk nor for a standby. All times are those of
the database, so replicas need not agree on theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine.interfaces import DBAPICursor

from hanaper.limiting.rules import SECONDS, Ask, Grant, wait_s

# The second is looked up behind the lock of the row: who waited for it must not write into the past.
_TAKE = f"""
    WITH asked AS (
        SELECT *
        FROM unnest(%s::bytea[], %s::int[], %s::int[], %s::int[], %s::int[], %s::bigint[])
            AS asked (subject, needed, wanted, most, back, back_second)
        ORDER BY subject
    )
    INSERT INTO rate_windows AS kept (subject, second, used, granted)
    SELECT subject, floor(extract(epoch FROM clock_timestamp()))::bigint,
        array_fill(0, ARRAY[{SECONDS - 1}]) || first.granted, first.granted
    FROM asked, LATERAL (SELECT greatest(needed, least(wanted, most))) AS first (granted)
    ON CONFLICT (subject) DO UPDATE SET (second, used, granted) = (
        SELECT stood.second, still.used[: {SECONDS - 1}] || (still.used[{SECONDS}] + given.granted), given.granted
        FROM asked,
            LATERAL (SELECT floor(extract(epoch FROM clock_timestamp()))::bigint) AS clock (second),
            LATERAL (SELECT clock.second - kept.second) AS since (seconds),
            LATERAL (
                SELECT clock.second, array_fill(0, ARRAY[{SECONDS}]) WHERE abs(seconds) >= {SECONDS}
                UNION ALL
                SELECT kept.second, kept.used WHERE seconds BETWEEN {1 - SECONDS} AND 0
                UNION ALL
                SELECT clock.second, kept.used[1 + seconds :] || array_fill(0, ARRAY[seconds::int])
                WHERE seconds BETWEEN 1 AND {SECONDS - 1}
            ) AS stood (second, used),
            LATERAL (
                SELECT array_agg(left_over.amount ORDER BY place), sum(left_over.amount)
                FROM unnest(stood.used) WITH ORDINALITY AS taken (amount, place),
                    LATERAL (
                        SELECT CASE
                            WHEN place = {SECONDS} - (stood.second - back_second) THEN greatest(amount - back, 0)
                            ELSE amount
                        END
                    ) AS left_over (amount)
            ) AS still (used, total),
            LATERAL (
                SELECT CASE
                    WHEN still.total = 0 THEN greatest(needed, least(wanted, most))
                    WHEN still.total + needed <= most THEN least(wanted, most - still.total)
                    ELSE 0
                END::int
            ) AS given (granted)
        WHERE asked.subject = excluded.subject
    )
    RETURNING subject, second, used, granted
"""  # noqa: S608 -- only numbers of ours are put in
_COLUMNS = ("subject", "least", "wanted", "most", "back", "back_second")
_GIVE_BACK = f"""
    UPDATE rate_windows SET used[{SECONDS} - second + %s] = greatest(used[{SECONDS} - second + %s] - %s, 0)
    WHERE subject = %s AND second - %s BETWEEN 0 AND {SECONDS - 1}
"""  # noqa: S608 -- as above
_PURGE = f"DELETE FROM rate_windows WHERE second < extract(epoch FROM clock_timestamp()) - {SECONDS}"  # noqa: S608 -- as above


@dataclass(frozen=True, slots=True)
class Back:
    """What was taken in a second and has not been used."""

    subject: bytes
    second: int
    amount: int


def take(cursor: DBAPICursor, dialect: str, asks: Sequence[Ask]) -> Sequence[Grant]:
    """Take of budgets."""
    del dialect
    grants: dict[int, Grant] = {}
    while len(grants) < len(asks):
        # A statement writes a row once. Who has stopped waiting may have asked for the same before.
        turn = {ask.subject: number for number, ask in enumerate(asks) if number not in grants}
        columns = [[getattr(asks[number], name) for number in turn.values()] for name in _COLUMNS]
        cursor.execute(_TAKE, columns)
        for subject, second, used, amount in cursor.fetchall():
            number = turn[bytes(subject)]
            wait = 0 if amount else wait_s(used, asks[number].least, asks[number].most)
            grants[number] = Grant(amount, second, wait)
    return [grants[number] for number in range(len(asks))]


def give_back(cursor: DBAPICursor, dialect: str, backs: Sequence[Back]) -> Sequence[None]:
    """Give back what has not been used."""
    del dialect
    for back in backs:
        cursor.execute(_GIVE_BACK, (back.second, back.second, back.amount, back.subject, back.second))
    return [None] * len(backs)


def purge(cursor: DBAPICursor, dialect: str, asked: Sequence[None]) -> Sequence[None]:
    """Delete what has been left alone for so long that it says nothing."""
    del dialect
    cursor.execute(_PURGE)
    return asked
