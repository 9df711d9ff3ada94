"""Background work on escrows: compare each with its contract (contract 8, `sync-escrows`).

Trustless Work's index lags and may be wrong: what it says is evidence for people. Nothing here changes an escrow, an
order or the books. A saga that is due is driven on, since only sagas know what happened; and where nobody carries an
escrow on, or the contract tells another story, that becomes a finding. It is resolved once a later look shows that
both agree again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from offerhub.errors import ProviderRateLimited, ProviderTimeout, ProviderUnavailable, Refusal
from offerhub.escrows import milestone_store, store
from offerhub.escrows.model import Escrow, EscrowMilestone
from offerhub.escrows.states import ENDED, ESCROW
from offerhub.findings.model import Found
from offerhub.findings.service import raise_finding, resolve_findings, unresolved
from offerhub.kernel.clock import Clock
from offerhub.kernel.money import format_chain_amount
from offerhub.providers.trustless_work.client import TrustlessWork
from offerhub.providers.trustless_work.wire import EscrowView, MilestoneView
from offerhub.runtime.database import Database, Tx
from offerhub.sagas.engine import Engine

MOVING: Final = frozenset({"CREATING", "FUNDING", "RELEASING", "REFUNDING"})
"""States in which a saga must be at work."""
OF_CONTRACT: Final = (
    "CONTRACT_UNKNOWN",
    "OTHER_TERMS",
    "PAID_OUT",
    "DISPUTE_UNKNOWN",
    "NOT_PAID_OUT",
    "MONEY_MISSING",
    "FUNDED_UNBOOKED",
    "SURPLUS",
)
"""Kinds of findings that a look at the contract makes, and ends."""
KINDS: Final = ("NO_SAGA", *OF_CONTRACT)
FINDINGS_SWEPT_MAX: Final = 500
"""How many findings about escrows that have ended meanwhile one run ends."""

log = structlog.get_logger("offerhub.escrows")


@dataclass(frozen=True, slots=True)
class Difference:
    """How an escrow and its contract differ. `kind` is a kind of finding, `facts` are JSON for people.

    `amount` is what the contract holds less what it should hold, in units, where that is what differs.
    """

    kind: str
    facts: dict[str, Any]
    amount: int | None = None


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
    *,
    limit: int,
    stale_seconds: float,
    pause_seconds: float,
) -> Report:
    """Compare at most `limit` escrows. When Trustless Work cannot be reached the rest waits for the next run."""
    escrows = await database.run(lambda tx: store.least_lately_checked(tx, limit, stale_seconds), read_only=True)
    await database.run(_end_findings_of_ended)
    looking = _Looking(database, trustless_work, engine)
    checked = resumed = differences = failed = 0
    for escrow in escrows:
        milestones = await _milestones(database, escrow)
        found = [await engine.resume(subject) for subject in _subjects(escrow, milestones)]
        resumed += sum(one.resumed for one in found)
        running = sum(one.sagas for one in found)
        if running:
            evidence = {"status": escrow.status, "runningSagas": running}
            await database.run(partial(resolve_findings, kinds=["NO_SAGA"], subject_id=escrow.id, evidence=evidence))
        else:
            try:
                differences += await looking.at(escrow, milestones)
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


async def _end_findings_of_ended(tx: Tx) -> None:
    """An escrow that a saga has brought to its end had the evidence of the chain: nothing about it is open."""
    about = [one for one in await unresolved(tx, KINDS, FINDINGS_SWEPT_MAX) if one.subject_type == "Escrow"]
    states = await store.states_of(tx, [one.subject_id for one in about])
    for one in about:
        state = states.get(one.subject_id, "discarded")
        if state in ESCROW.terminal or one.subject_id not in states:
            await resolve_findings(tx, [one.kind], one.subject_id, {"status": state})


async def _milestones(database: Database, escrow: Escrow) -> list[EscrowMilestone]:
    if escrow.escrow_type == "single-release":
        return []
    return await database.run(lambda tx: milestone_store.milestones_of(tx, [escrow.id]), read_only=True)


def _subjects(escrow: Escrow, milestones: Sequence[EscrowMilestone]) -> list[str]:
    """What sagas on an escrow are about: its order, or a milestone."""
    return [escrow.order_id, *(milestone.milestone_id for milestone in milestones)]


@dataclass(frozen=True, slots=True)
class _Looking:
    """One run's questions about escrows at rest."""

    database: Database
    trustless_work: TrustlessWork
    engine: Engine

    async def at(self, escrow: Escrow, milestones: Sequence[EscrowMilestone]) -> bool:
        """Compare an escrow that no saga carries; True when it differs and that is news. Raises Refusal."""
        if escrow.status in MOVING or any(one.status == "PAYING" for one in milestones):
            difference = Difference("NO_SAGA", {"status": escrow.status, "contractId": escrow.contract_id})
            return await self._keep(escrow, milestones, difference, agreed=())
        view = await self.trustless_work.escrow(escrow.contract)
        found = compare(escrow, view, milestones)
        known = OF_CONTRACT if view is not None else ()
        kinds = [kind for kind in known if found is None or kind != found.kind]
        return await self._keep(escrow, milestones, found, agreed=[*kinds, "NO_SAGA"], facts=_facts(escrow, view))

    async def _keep(
        self,
        escrow: Escrow,
        milestones: Sequence[EscrowMilestone],
        difference: Difference | None,
        *,
        agreed: Sequence[str],
        facts: Mapping[str, Any] | None = None,
    ) -> bool:
        """Write down what was seen, unless the escrow has moved while we asked; True when there is news."""

        async def keep(tx: Tx) -> bool:
            # Whatever a saga does on the chain is noted on the escrow as well.
            if not await store.lock_unchanged(tx, escrow):
                return False
            for subject in _subjects(escrow, milestones):
                if await self.engine.is_carrying(tx, subject):
                    return False
            if agreed:
                await resolve_findings(tx, agreed, escrow.id, facts or {})
            if difference is None:
                return False
            found = Found(
                escrow.marketplace_id, difference.kind, "Escrow", escrow.id, difference.facts, difference.amount
            )
            return await raise_finding(tx, found)

        return await self.database.run(keep)


def _facts(escrow: Escrow, view: EscrowView | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"status": escrow.status, "contractId": escrow.contract_id}
    if view is not None:
        facts |= {
            "amount": format_chain_amount(escrow.amount),
            "contractAmount": format_chain_amount(view.amount),
            "contractBalance": None if view.balance is None else format_chain_amount(view.balance),
            "contractFlags": {"disputed": view.disputed, "released": view.released, "resolved": view.resolved},
        }
        if escrow.escrow_type == "multi-release":
            facts["contractMilestones"] = [
                {"disputed": one.disputed, "released": one.released, "resolved": one.resolved}
                for one in view.milestones
            ]
    return facts


def compare(escrow: Escrow, view: EscrowView | None, milestones: Sequence[EscrowMilestone] = ()) -> Difference | None:
    """How an escrow at rest (CREATED, FUNDED, DISPUTED) differs from the contract that Trustless Work shows.

    Strangers can send to a contract: what they sent is a surplus. A dispute of ours reaches the contract only when it
    is resolved. `milestones` are those of a multi-release escrow, which are at rest, too.
    """
    facts = _facts(escrow, view)
    if view is None:
        return Difference("CONTRACT_UNKNOWN", facts)
    kind = None
    if view.engagement_id != escrow.order_id or view.amount != escrow.amount:
        kind = "OTHER_TERMS"
    elif milestones:
        kind = _milestones_differ(milestones, view.milestones)
    elif view.released or view.resolved:
        kind = "PAID_OUT"
    elif view.disputed and not escrow.disputed_on_chain:
        kind = "DISPUTE_UNKNOWN"
    held = 0 if escrow.status == "CREATED" else _held(escrow, milestones)
    if kind is None and view.balance is not None:
        kind = _money_differs(escrow, held, view.balance)
    if kind is None:
        return None
    return Difference(kind, facts, None if view.balance is None else view.balance - held)


def _held(escrow: Escrow, milestones: Sequence[EscrowMilestone]) -> int:
    """What we have put into a contract and not paid out of it, in units."""
    if not milestones:
        return escrow.amount
    return sum(one.amount for one in milestones if one.status not in ENDED)


def _milestones_differ(ours: Sequence[EscrowMilestone], theirs: Sequence[MilestoneView]) -> str | None:
    """The first milestone that differs names the difference."""
    if [one.amount for one in ours] != [one.amount for one in theirs]:
        return "OTHER_TERMS"
    for milestone, view in zip(ours, theirs, strict=True):
        has_ended = view.released or view.resolved
        if milestone.status in ENDED and not has_ended:
            return "NOT_PAID_OUT"
        if milestone.status not in ENDED and has_ended:
            return "PAID_OUT"
        if view.disputed and not milestone.disputed_on_chain:
            return "DISPUTE_UNKNOWN"
    return None


def _money_differs(escrow: Escrow, held: int, balance: int) -> str | None:
    if escrow.status == "CREATED" and balance >= escrow.amount:
        return "FUNDED_UNBOOKED"
    if balance == held:
        return None
    return "MONEY_MISSING" if balance < held else "SURPLUS"
