"""Background work on escrows: compare each with its contract (contract 8, `sync-escrows`).

Trustless Work's index lags and may be wrong: what it says is evidence for people. Nothing here changes an escrow, an
order or the books. A saga that is due is driven on, since only sagas know what happened; and where nobody carries an
escrow on, or the contract tells another story, that is handed to `found` for a person.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from offerhub.errors import ProviderRateLimited, ProviderTimeout, ProviderUnavailable, Refusal
from offerhub.escrows import store
from offerhub.escrows.model import Escrow
from offerhub.kernel.clock import Clock
from offerhub.kernel.money import format_chain_amount
from offerhub.providers.trustless_work.client import TrustlessWork
from offerhub.providers.trustless_work.wire import EscrowView
from offerhub.runtime.database import Database, Tx
from offerhub.sagas.engine import Engine

MOVING: Final = frozenset({"CREATING", "FUNDING", "RELEASING", "REFUNDING"})
"""States in which a saga must be at work."""

log = structlog.get_logger("offerhub.escrows")


@dataclass(frozen=True, slots=True)
class Difference:
    """How an escrow and its contract differ. `kind` is a word for programs, `facts` are JSON for people."""

    kind: str
    facts: dict[str, Any]


Found = Callable[[Tx, Escrow, Difference], Awaitable[bool]]
"""Keeps a difference; True when it is new. Runs in a transaction in which the escrow cannot change."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did: escrows looked at, sagas driven on, new differences, and questions without an answer."""

    checked: int
    resumed: int
    differences: int
    failed: int


async def compare_escrows(
    database: Database,
    trustless_work: TrustlessWork,
    engine: Engine,
    clock: Clock,
    found: Found,
    *,
    limit: int,
    stale_seconds: float,
    pause_seconds: float,
) -> Report:
    """Compare at most `limit` escrows. When Trustless Work cannot be reached the rest waits for the next run."""
    escrows = await database.run(lambda tx: store.least_lately_checked(tx, limit, stale_seconds), read_only=True)
    checked = resumed = differences = failed = 0
    for escrow in escrows:
        running = await engine.resume(escrow.order_id)
        resumed += running.resumed
        if running.sagas == 0:
            try:
                difference = await _difference(trustless_work, escrow)
                differences += await _keep(database, engine, escrow, difference, found)
            except Refusal as refusal:
                failed += 1
                log.warning("escrow_not_compared", escrow_id=escrow.id, code=refusal.code, error=refusal.message)
                if isinstance(refusal, ProviderUnavailable | ProviderTimeout | ProviderRateLimited):
                    break
            await clock.sleep(pause_seconds)
        checked += 1
        await _note(database, escrow)
    return Report(checked, resumed, differences, failed)


async def _note(database: Database, escrow: Escrow) -> None:
    await database.run(lambda tx: store.checked(tx, escrow.id))


async def _difference(trustless_work: TrustlessWork, escrow: Escrow) -> Difference | None:
    if escrow.status in MOVING:
        return Difference("NO_SAGA", {"status": escrow.status, "contractId": escrow.contract_id})
    return compare(escrow, await trustless_work.escrow(escrow.contract))


async def _keep(
    database: Database, engine: Engine, escrow: Escrow, difference: Difference | None, found: Found
) -> bool:
    """Hand the difference on, unless the escrow has moved while we asked; True when it is new."""
    if difference is None:
        return False

    async def keep(tx: Tx) -> bool:
        if not await store.lock_unchanged(tx, escrow) or await engine.is_carrying(tx, escrow.order_id):
            return False
        return await found(tx, escrow, difference)

    return await database.run(keep)


def compare(escrow: Escrow, view: EscrowView | None) -> Difference | None:
    """How an escrow at rest (CREATED, FUNDED, DISPUTED) differs from the contract that Trustless Work shows.

    A contract may hold more than the order's amount: strangers can send to it. A dispute of ours reaches the contract
    only when it is resolved.
    """
    facts: dict[str, Any] = {"status": escrow.status, "contractId": escrow.contract_id}
    if view is None:
        return Difference("CONTRACT_UNKNOWN", facts)
    facts |= {
        "amount": format_chain_amount(escrow.amount),
        "contractAmount": format_chain_amount(view.amount),
        "contractBalance": None if view.balance is None else format_chain_amount(view.balance),
        "contractFlags": {"disputed": view.disputed, "released": view.released, "resolved": view.resolved},
    }
    kind = None
    if view.engagement_id != escrow.order_id or view.amount != escrow.amount:
        kind = "OTHER_TERMS"
    elif view.released or view.resolved:
        kind = "PAID_OUT"
    elif view.disputed and not escrow.disputed_on_chain:
        kind = "DISPUTE_UNKNOWN"
    elif view.balance is not None:
        kind = _money_differs(escrow, view.balance)
    return None if kind is None else Difference(kind, facts)


def _money_differs(escrow: Escrow, balance: int) -> str | None:
    if escrow.status == "CREATED":
        return "FUNDED_UNBOOKED" if balance >= escrow.amount else None
    return "MONEY_MISSING" if balance < escrow.amount else None
