"""Posting, holding, settling, voiding: the only ways in which the books change.

Every function runs in the caller's transaction and carries a business key; a second post under the same key is
refused by the database, so one intent has one effect (I4).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import asyncpg

from offerhub.errors import InsufficientFunds, InternalError, InvalidAmount, ReserveNotFound
from offerhub.kernel.money import UNITS_MAX, format_amount
from offerhub.ledger.chart import Kind
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx

FLOOR_BROKEN = "OH001"

HoldSource = Literal["api", "order"]


class Leg(NamedTuple):
    """`amount` units into (positive) or out of (negative) the account of `owner` and `kind`."""

    owner: str
    kind: Kind
    amount: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What to post: a balanced set of legs under a business key that names the intent."""

    business_key: str
    kind: str
    subject: str
    legs: Sequence[Leg]
    reason: str | None = None


class Around(NamedTuple):
    """An account's balance before and after a post, in units."""

    before: int
    after: int


class AlreadyPosted(Exception):
    """This business key has been posted before; the first post stands."""


_POST = "SELECT owner, kind, balance_before, balance_after FROM ledger.post($1, $2, $3, $4, $5, $6, $7, $8, $9)"


async def post(tx: Tx, actor: Actor, entry: Entry) -> Mapping[tuple[str, Kind], Around]:
    """Post a transaction; returns the balances around it for accounts with a floor.

    Raises InsufficientFunds when an account would fall below zero, InvalidAmount when one would grow beyond a bigint,
    AlreadyPosted for a known business key. Each leaves the database transaction unusable: the caller must let it
    propagate out of its use case.
    """
    legs = [leg for leg in entry.legs if leg.amount != 0]
    assert sum(leg.amount for leg in legs) == 0, "legs must balance"
    assert all(abs(leg.amount) <= UNITS_MAX for leg in legs), "amounts must fit a bigint"
    try:
        rows = await tx.rows(
            _POST,
            actor.marketplace_id,
            entry.business_key,
            entry.kind,
            entry.subject,
            entry.reason,
            actor.credential_id,
            [leg.owner for leg in legs],
            [leg.kind.value for leg in legs],
            [leg.amount for leg in legs],
        )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "one_effect_per_intent":
            raise AlreadyPosted(entry.business_key) from error
        raise
    except asyncpg.NumericValueOutOfRangeError as error:
        raise InvalidAmount("A balance would grow beyond what the books can hold.") from error
    except asyncpg.PostgresError as error:
        if error.sqlstate == FLOOR_BROKEN:
            raise _floor_broken(error) from error
        raise
    around = {
        (row["owner"], Kind(row["kind"])): Around(row["balance_before"], row["balance_after"])
        for row in rows
        if row["balance_after"] is not None
    }
    for leg in legs:
        moved = around.get((leg.owner, leg.kind))
        assert moved is None or moved.after == moved.before + leg.amount
    return around


def _floor_broken(error: asyncpg.PostgresError) -> Exception:
    facts = json.loads(getattr(error, "detail", None) or "{}")
    if facts.get("kind") == Kind.AVAILABLE:
        return InsufficientFunds(
            requested=format_amount(facts["requested"]),
            available=format_amount(facts["balance"]),
            currency="USD",
        )
    if facts.get("kind") == Kind.RESERVED:
        return ReserveNotFound(
            requested=format_amount(facts["requested"]),
            reserved=format_amount(facts["balance"]),
            currency="USD",
        )
    return InternalError("the books refused to overdraw an internal account", kind=facts.get("kind"))


# -- holds: money set aside under a reference --------------------------------------------------------------------

_ADD_HOLD = """
INSERT INTO ledger.holds (marketplace_id, user_id, source, reference, amount) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (marketplace_id, user_id, source, reference)
DO UPDATE SET amount = holds.amount + excluded.amount, updated_at = clock_timestamp()
"""

_TAKE_HOLD = """
UPDATE ledger.holds SET amount = amount - $5, updated_at = clock_timestamp()
WHERE marketplace_id = $1 AND user_id = $2 AND source = $3 AND reference = $4 AND amount >= $5
"""

_HELD = """
SELECT amount FROM ledger.holds WHERE marketplace_id = $1 AND user_id = $2 AND source = $3 AND reference = $4
"""


@dataclass(frozen=True, slots=True)
class Hold:
    """Money of a user set aside under a reference, by an order of ours or through the balance API."""

    user_id: str
    source: HoldSource
    reference: str


async def hold(tx: Tx, actor: Actor, business_key: str, held: Hold, amount: int) -> Mapping[tuple[str, Kind], Around]:
    """Set money aside: `available` to `reserved`. Raises InsufficientFunds."""
    # The hold's row before the accounts, as in `settle`: two of them never wait for each other.
    await tx.execute(_ADD_HOLD, actor.marketplace_id, held.user_id, held.source, held.reference, amount)
    legs = [Leg(held.user_id, Kind.AVAILABLE, -amount), Leg(held.user_id, Kind.RESERVED, amount)]
    return await post(tx, actor, Entry(business_key, "hold", held.reference, legs))


async def void(tx: Tx, actor: Actor, business_key: str, held: Hold, amount: int) -> Mapping[tuple[str, Kind], Around]:
    """Give held money back to `available`. Raises ReserveNotFound when less than that is held."""
    return await settle(tx, actor, business_key, held, [Leg(held.user_id, Kind.AVAILABLE, amount)], kind="void")


async def settle(
    tx: Tx, actor: Actor, business_key: str, held: Hold, to: Sequence[Leg], *, kind: str = "settle"
) -> Mapping[tuple[str, Kind], Around]:
    """Move held money to where it was set aside for: `reserved` to the legs of `to`, whose sum is taken.

    Raises ReserveNotFound when less than that sum is held under this reference.
    """
    amount = sum(leg.amount for leg in to)
    assert amount > 0
    key = (actor.marketplace_id, held.user_id, held.source, held.reference)
    if await tx.execute(_TAKE_HOLD, *key, amount) != 1:
        remaining = await tx.value(_HELD, *key)
        raise ReserveNotFound(requested=format_amount(amount), reserved=format_amount(remaining or 0), currency="USD")
    return await post(
        tx, actor, Entry(business_key, kind, held.reference, [Leg(held.user_id, Kind.RESERVED, -amount), *to])
    )


# -- reading ---------------------------------------------------------------------------------------------------

_BALANCES = """
SELECT kind, balance, updated_at FROM ledger.accounts
WHERE marketplace_id = $1 AND owner = $2 AND kind = ANY($3::text[]) AND asset = 'USD'
"""


async def balances(tx: Tx, marketplace_id: str, owner: str, kinds: Sequence[Kind]) -> dict[Kind, int]:
    """The balances in units of an owner's accounts with a floor; an account never posted to counts as zero."""
    rows = await tx.rows(_BALANCES, marketplace_id, owner, [kind.value for kind in kinds])
    found = {Kind(row["kind"]): int(row["balance"]) for row in rows}
    return {kind: found.get(kind, 0) for kind in kinds}
