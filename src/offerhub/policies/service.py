"""Use cases of policies: read and set them; let one happen, through the same use cases as the API.

A policy decides nothing by itself: it asks for what a person could ask for, and what that refuses does not happen.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from offerhub.disputes import service as disputes
from offerhub.disputes.service import Disputes
from offerhub.errors import InsufficientScope, Refusal
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.kernel.clock import Clock, to_wire
from offerhub.orders.model import Decision
from offerhub.orders.resolution import Resolution
from offerhub.orders.service import EscrowPolicy, Orders
from offerhub.policies import store
from offerhub.policies.model import FIELDS, Due, PoliciesAnswer, PoliciesBody, answer
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.sagas.engine import Engine

Moment = Callable[[Tx], Awaitable[datetime]]
"""What time it is for timers. All processes of an installation must agree on it, so it is asked in a transaction."""


def database_clock(ahead_seconds: float = 0.0) -> Moment:
    """The database's own clock, by which states are dated too; a worker's clock does not matter (reliability I15).

    `ahead_seconds` lets timers run ahead of it, for trying policies out.
    """

    async def now(tx: Tx) -> datetime:
        return await store.database_time(tx) + timedelta(seconds=ahead_seconds)

    return now


async def read(tx: Tx, actor: Actor) -> PoliciesAnswer:
    """The marketplace's policies. Raises InsufficientScope for a key that is bound to a user."""
    _require_unbound(actor)
    return answer(actor.marketplace_id, await store.of_marketplace(tx, actor.marketplace_id))


async def replace(tx: Tx, actor: Actor, body: PoliciesBody, now: Moment) -> PoliciesAnswer:
    """Set all policies. One that changes applies from now on: what is in its state already has the whole span.

    Raises InsufficientScope for a key that is bound to a user.
    """
    _require_unbound(actor)
    stored = await store.of_marketplace(tx, actor.marketplace_id, lock=True)
    moment, before = await now(tx), answer(actor.marketplace_id, stored)
    changed = []
    for name, (span_hours, action) in body.wanted().items():
        known = stored.get(name)
        is_same = (span_hours, action) == (known.span_hours, known.action) if known else span_hours is None
        if not is_same:
            await store.put(tx, actor.marketplace_id, name, span_hours, action, moment, actor.credential_id)
            changed.append(FIELDS[name])
    after = answer(actor.marketplace_id, await store.of_marketplace(tx, actor.marketplace_id))
    if changed:
        entry = AuditEntry("POLICIES_CHANGED", "Marketplace", actor.marketplace_id, _told(before), _told(after))
        await record(tx, actor, audit=[entry])
    return after


def _require_unbound(actor: Actor) -> None:
    if actor.bound_user_id is not None:
        raise InsufficientScope("Policies are the whole marketplace's: use a key that is bound to no user.")


def _told(policies: PoliciesAnswer) -> dict[str, object]:
    return {name: getattr(policies, name) for name in (*FIELDS.values(), "onDisputeDeadline")}


@dataclass(frozen=True, slots=True)
class Firing:
    """Lets one thing happen whose time is over. Each does everything in the caller's transaction."""

    orders: Orders
    resolution: Resolution
    disputes: Disputes
    now: Moment

    async def fire(self, tx: Tx, one: Due) -> str | None:
        """What was done, None when it is not due any more: the rule, the state or another process has moved on.

        Raises Refusal when the use case refuses; nothing has happened then.
        """
        if not await self.is_due(tx, one):
            return None
        actor = actor_of(one)
        outcome = await self._act(tx, actor, one)
        return outcome if await note(tx, one, outcome) else None

    async def refused(self, tx: Tx, one: Due, refusal: Refusal) -> bool:
        """Write down what refuses, so that it is tried again only when its subject enters this state anew.

        False when it is not due any more: somebody else was quicker, and nothing is written.
        """
        return await self.is_due(tx, one) and await note(tx, one, f"REFUSED {refusal.code}")

    async def is_due(self, tx: Tx, one: Due) -> bool:
        """True while this is due as it was found; the policy then stays so until the transaction ends."""
        await store.lock(tx, one.marketplace_id, one.policy)
        return await store.due(tx, one.policy, await self.now(tx), 1, one.subject_id) == [one]

    async def _act(self, tx: Tx, actor: Actor, one: Due) -> str:
        match one.policy:
            case "autoRelease":
                return await self.resolution.begin_release(tx, actor, one.subject_id, one.reason)
            case "autoCancelUnfunded":
                await self.orders.cancel(tx, actor, one.subject_id, one.reason)
                return "CANCELED"
            case "disputeDeadline":
                return await self._deadline(tx, actor, one)
        raise AssertionError(one.policy)

    async def _deadline(self, tx: Tx, actor: Actor, one: Due) -> str:
        dispute = await disputes.require(tx, one.marketplace_id, one.subject_id)
        payload = {
            "disputeId": dispute.id,
            "orderId": dispute.order_id,
            "openedAt": to_wire(dispute.created_at),
            "deadline": to_wire(one.due_at),
            "action": one.action,
        }
        await record(tx, actor, events=[Event("dispute.escalated", "Dispute", dispute.id, payload)])
        if one.action == "ESCALATE":
            return "ESCALATED"
        if dispute.status == "OPEN":
            await disputes.assign(tx, actor, dispute.id, one.actor_id, one.reason)
        decision: Decision = "FULL_REFUND" if one.action == "REFUND" else "FULL_RELEASE"
        return await self.disputes.begin_resolve(tx, actor, dispute.id, decision, (None, None), one.reason)


def firing(engine: Engine, terms: EscrowPolicy, clock: Clock, ahead_seconds: float) -> Firing:
    """The use cases that policies go through, with the database's clock, or one that is ahead of it."""
    orders, resolution = Orders(engine, terms, clock), Resolution(engine, clock)
    return Firing(orders, resolution, Disputes(engine), database_clock(ahead_seconds))


async def note(tx: Tx, one: Due, outcome: str) -> bool:
    """Write down what a policy has done, with its cause; False when it had been done before."""
    if not await store.fire(tx, one, outcome):
        return False
    cause = {
        "policy": FIELDS[one.policy],
        "action": one.action,
        "spanHours": one.span_hours,
        "stateSince": to_wire(one.state_since),
        "dueAt": to_wire(one.due_at),
        "outcome": outcome,
    }
    types = {"disputeDeadline": "Dispute", "topupExpiry": "TopUp"}
    entry = AuditEntry("POLICY_FIRED", types.get(one.policy, "Order"), one.subject_id, after=cause)
    await record(tx, actor_of(one), audit=[entry])
    return True


def actor_of(one: Due) -> Actor:
    """Who acts for a policy, in events and in the audit trail."""
    return Actor(one.marketplace_id, "system", one.actor_id, one.actor_id)
