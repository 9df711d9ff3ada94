"""Booking what arrived: each credit of the chain once, to the wallet of a user or to the treasury.

Whoever finds a credit books it here: the watcher through Horizon or RPC, a back-fill, the search for missed deposits.
All name it alike: its operation, its receiver, and how many credits of that receiver come before it in the operation
(decision 0045). So they may race, and it is booked once (I11).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.errors import Refusal
from offerhub.events.catalogue import DepositSource, deposit_credited
from offerhub.events.journal import Event, record
from offerhub.findings.model import Found
from offerhub.findings.service import raise_finding
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Entry, Leg, post
from offerhub.providers.stellar.network import Asset
from offerhub.providers.stellar.records import Transfer, Unreadable
from offerhub.runtime.actor import system
from offerhub.runtime.database import Tx
from offerhub.wallets import deposit_store as store

ASIDE: Final = "deposits"
"""Under what records are put aside."""

QUARANTINED: Final = "DEPOSIT_QUARANTINED"
REASON_CHARACTERS_MAX: Final = 500
UNREADABLE: Final = "unreadable"
"""The subject of the one finding about all records that cannot be read: they may be the whole network's."""

log = structlog.get_logger("offerhub.deposits")


@dataclass(frozen=True, slots=True)
class Booked:
    """How many credits of a page were booked now, and how many records were put aside."""

    credited: int
    quarantined: int


async def book_credits(
    tx: Tx, usdc: Asset, transfers: Sequence[Transfer], unreadable: Sequence[Unreadable], source: DepositSource
) -> Booked:
    """Book what arrived at wallets of users and at the treasury, and put aside what cannot be read or booked.

    Safe to repeat and to race with itself: a credit is booked once under its name, whoever sees it, and
    what is put aside stays a person's decision.
    """
    quarantined = 0
    for odd in unreadable:
        if await store.quarantine(tx, ASIDE, odd.paging_token, odd.record, odd.reason):
            quarantined += 1
            log.error("deposit_quarantined", record=odd.paging_token, reason=odd.reason)
            facts = {"record": odd.paging_token, "reason": odd.reason[:REASON_CHARACTERS_MAX]}
            await raise_finding(
                tx, Found(DEFAULT_MARKETPLACE_ID, QUARANTINED, "Deposit", UNREADABLE, facts), "deposits"
            )
    ours = await _ours(tx, [moved for moved in transfers if moved.asset == usdc and moved.amount > 0])
    if not ours:
        return Booked(0, quarantined)
    contracts = await store.escrow_contracts(tx, [one.moved.from_address for one in ours])
    # A record that could not be read at all lies there under its operation alone.
    names = {name for one in ours for name in (credit_name(one.moved), one.moved.operation_id)}
    aside = await store.quarantined(tx, ASIDE, sorted(names))
    wanted = [
        one
        for one in ours
        # The saga that released an escrow books what that paid out.
        if one.moved.from_address not in contracts
        and credit_name(one.moved) not in aside
        and one.moved.operation_id not in aside
    ]
    credited = await _or_undo(tx, wanted, source)
    if not isinstance(credited, Exception):
        return Booked(credited, quarantined)
    # One of them cannot be booked: each on its own, so that the others are.
    booked = 0
    for one in wanted:
        alone = await _or_undo(tx, [one], source)
        if isinstance(alone, Exception):
            quarantined += await _put_aside(tx, one, alone)
        else:
            booked += alone
    return Booked(booked, quarantined)


@dataclass(frozen=True, slots=True)
class _Ours:
    """A credit to a wallet of ours; the treasury's belongs to no user."""

    moved: Transfer
    marketplace_id: str
    user_id: str | None


async def _ours(tx: Tx, transfers: Sequence[Transfer]) -> list[_Ours]:
    """Those of these transfers that came to a wallet of ours: two queries, however many wallets there are."""
    if not transfers:
        return []
    addresses = sorted({moved.to_address for moved in transfers})
    owners, treasuries = await store.owners(tx, addresses), await store.treasury_owners(tx, addresses)
    found = []
    for moved in transfers:
        owner = owners.get(moved.to_address)
        if owner is not None:
            found.append(_Ours(moved, owner["marketplace_id"], owner["user_id"]))
        elif moved.to_address in treasuries:
            found.append(_Ours(moved, treasuries[moved.to_address], None))
    return found


async def _or_undo(tx: Tx, wanted: Sequence[_Ours], source: DepositSource) -> int | Exception:
    """How many were booked now, or why not all of them can be; then none is."""
    booked: int | Exception
    await tx.execute("SAVEPOINT credits")
    try:
        booked = await _book(tx, wanted, source)
    except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
        raise
    except (Refusal, asyncpg.PostgresError) as error:
        await tx.execute("ROLLBACK TO SAVEPOINT credits")
        booked = error
    await tx.execute("RELEASE SAVEPOINT credits")
    return booked


async def _put_aside(tx: Tx, one: _Ours, error: Exception) -> int:
    moved = one.moved
    facts = {"hash": moved.transaction_hash, "to": moved.to_address, "amount": str(moved.amount)}
    log.error("deposit_quarantined", operation=moved.operation_id, reason=str(error))
    name, reason = credit_name(moved), str(error)[:REASON_CHARACTERS_MAX]
    if not await store.quarantine(tx, ASIDE, name, facts, reason):
        return 0
    evidence = {"hash": moved.transaction_hash, "to": moved.to_address, "userId": one.user_id, "reason": reason}
    found = Found(one.marketplace_id, QUARANTINED, "Deposit", name, evidence, int(moved.amount))
    await raise_finding(tx, found, "deposits")
    return 1


def credit_name(moved: Transfer) -> str:
    """What names this credit in the books, whoever has found it."""
    return f"{moved.operation_id}:{moved.to_address}:{moved.index}"


async def _book(tx: Tx, wanted: Sequence[_Ours], source: DepositSource) -> int:
    """Claim all, then post those that nobody has posted before, in their order."""
    users = [(one.moved, one.marketplace_id, one.user_id, _key(one.moved)) for one in wanted if one.user_id]
    capital = [(one.moved, one.marketplace_id, _capital_key(one.moved)) for one in wanted if not one.user_id]
    new = await store.insert_deposits(tx, users) if users else set()
    if capital:
        new |= await store.insert_treasury_deposits(tx, capital)
    events: dict[str, list[Event]] = {}
    booked = 0
    for one in wanted:
        name = credit_name(one.moved)
        if name not in new:
            continue
        new.remove(name)
        booked += 1
        if one.user_id is None:
            await _post_capital(tx, one.marketplace_id, one.moved)
        else:
            event = await _post(tx, one.marketplace_id, one.user_id, one.moved, source)
            events.setdefault(one.marketplace_id, []).append(event)
    for marketplace_id, told in events.items():
        await record(tx, system(marketplace_id, "deposits"), events=told)
    return booked


def _key(moved: Transfer) -> str:
    return f"deposit:{credit_name(moved)}"


def _capital_key(moved: Transfer) -> str:
    return f"treasury:deposit:{credit_name(moved)}"


async def _post_capital(tx: Tx, marketplace_id: str, moved: Transfer) -> None:
    """What the operator has paid into the treasury."""
    legs = [
        Leg(marketplace_id, Kind.WORLD_TREASURY, -moved.amount),
        Leg(marketplace_id, Kind.CAPITAL_TREASURY, moved.amount),
    ]
    entry = Entry(_capital_key(moved), "treasury_deposit", moved.to_address, legs)
    await post(tx, system(marketplace_id, "deposits"), entry)
    log.info("treasury_deposit_booked", amount=int(moved.amount), operation=moved.operation_id)


async def _post(tx: Tx, marketplace_id: str, user_id: str, moved: Transfer, source: DepositSource) -> Event:
    """Credit one transfer to its user; returns what is to be told of it."""
    legs = [Leg(marketplace_id, Kind.WORLD_STELLAR, -moved.amount), Leg(user_id, Kind.AVAILABLE, moved.amount)]
    around = await post(tx, system(marketplace_id, "deposits"), Entry(_key(moved), "deposit", user_id, legs))
    operation = f"{moved.operation_id}:{moved.index}"
    log.info("deposit_credited", user_id=user_id, amount=int(moved.amount), operation=operation)
    available = around[user_id, Kind.AVAILABLE]
    return deposit_credited(user_id, moved.amount, moved.transaction_hash, operation, available, source)
