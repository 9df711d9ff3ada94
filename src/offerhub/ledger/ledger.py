"""Posting, holding, settling, voiding: the only ways in which the books change.

Every function runs in the caller's transaction and carries a business key; a second post under the same key is
refused by the database, so one intent has one effect (I4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import asyncpg

from offerhub.errors import InsufficientFunds, InternalError, InvalidAmount, Refusal, ReserveNotFound
from offerhub.kernel.money import UNITS_MAX, format_amount
from offerhub.ledger.chart import Kind
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Raised, Tx

FLOOR_BROKEN = "OH001"
NOT_HELD = "OH012"
TOO_LARGE = "22003"

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

    @property
    def was(self) -> str:
        """The balance before, as the wire shows it."""
        return format_amount(self.before)

    @property
    def becomes(self) -> str:
        """The balance after, as the wire shows it."""
        return format_amount(self.after)


class AlreadyPosted(Exception):
    """This business key has been posted before; the first post stands."""


_POST = "SELECT owner, kind, balance_before, balance_after FROM ledger.post($1, $2, $3, $4, $5, $6, $7, $8, $9)"


async def post(tx: Tx, actor: Actor, entry: Entry) -> Mapping[tuple[str, Kind], Around]:
    """Post a transaction; returns the balances around it for accounts with a floor.

    Raises InsufficientFunds when an account would fall below zero, InvalidAmount when one would grow beyond a bigint,
    AlreadyPosted for a known business key. Each leaves the database transaction unusable: the caller must let it
    propagate out of its use case.
    """
    return await _post(tx, actor, entry)


async def _post(
    tx: Tx, actor: Actor, entry: Entry, held: "Hold | None" = None, change: int = 0
) -> Mapping[tuple[str, Kind], Around]:
    """Post; with a hold, change what it holds first."""
    legs = [leg for leg in entry.legs if leg.amount != 0]
    check(legs)
    call = (
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
    try:
        if held is None:
            rows = await tx.rows(_POST, *call)
        else:
            rows = await tx.rows(_POST_HELD, held.user_id, held.source, held.reference, change, *call)
    except asyncpg.PostgresError as error:
        if getattr(error, "constraint_name", None) == "one_effect_per_intent":
            raise AlreadyPosted(entry.business_key) from error
        refusal = refusal_of(Raised.of(error))
        if refusal is None:
            raise
        raise refusal from error
    around = {
        (row["owner"], Kind(row["kind"])): Around(row["balance_before"], row["balance_after"])
        for row in rows
        if row["balance_after"] is not None
    }
    for leg in legs:
        moved = around.get((leg.owner, leg.kind))
        assert moved is None or moved.after == moved.before + leg.amount
    return around


def check(legs: Sequence[Leg]) -> None:
    """See that what is to be posted is money that goes from somewhere to somewhere."""
    assert sum(leg.amount for leg in legs) == 0, "legs must balance"
    assert all(0 < abs(leg.amount) <= UNITS_MAX for leg in legs), "amounts must fit a bigint"


def refusal_of(raised: Raised) -> Refusal | None:
    """What the books' refusal means to whoever asked; None when it is not theirs, or a known business key."""
    code, facts = raised
    if code == TOO_LARGE:
        return InvalidAmount("A balance would grow beyond what the books can hold.")
    if code == NOT_HELD:
        return ReserveNotFound(
            requested=format_amount(facts["requested"]), reserved=format_amount(facts["held"]), currency="USD"
        )
    return _floor_broken(facts) if code == FLOOR_BROKEN else None


def _floor_broken(facts: Mapping[str, Any]) -> Refusal:
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

_POST_HELD = """
SELECT owner, kind, balance_before, balance_after
FROM ledger.post_held($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""


@dataclass(frozen=True, slots=True)
class Hold:
    """Money of a user set aside under a reference, by an order of ours or through the balance API."""

    user_id: str
    source: HoldSource
    reference: str


async def hold(tx: Tx, actor: Actor, business_key: str, held: Hold, amount: int) -> Mapping[tuple[str, Kind], Around]:
    """Set money aside: `available` to `reserved`. Raises InsufficientFunds."""
    legs = [Leg(held.user_id, Kind.AVAILABLE, -amount), Leg(held.user_id, Kind.RESERVED, amount)]
    return await _post(tx, actor, Entry(business_key, "hold", held.reference, legs), held, amount)


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
    legs = [Leg(held.user_id, Kind.RESERVED, -amount), *to]
    return await _post(tx, actor, Entry(business_key, kind, held.reference, legs), held, -amount)


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
