"""How a withdrawal goes on and ends: the one place where what a provider says moves its state and its money.

Every end posts under the key `withdrawal:<id>:end`, so that a withdrawal ends once, however often we are told.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from offerhub.events import catalogue
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.findings.model import Found
from offerhub.findings.service import raise_finding, resolve_findings
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import Units, format_amount
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Entry, Leg
from offerhub.providers.airtm.model import Payout, PayoutStatus
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.withdrawals import store
from offerhub.withdrawals.model import Withdrawal
from offerhub.withdrawals.states import WITHDRAWAL

TOLD: Final[Mapping[PayoutStatus, str]] = {
    "PROCESSING": "WITHDRAWAL_PENDING",
    "WAITING_FOR_USER": "WITHDRAWAL_PENDING_USER_ACTION",
    "COMPLETED": "WITHDRAWAL_COMPLETED",
    "CANCELED": "WITHDRAWAL_CANCELED",
    "FAILED": "WITHDRAWAL_FAILED",
}
"""What a payout's status means for its withdrawal; a status that is not here changes nothing."""

MISMATCH: Final = "PAYOUT_MISMATCH"
"""The kind of finding about a payout whose word is not followed."""
TROUBLE_SECONDS_MAX: Final = 3600
"""How long a payout may be in trouble at Airtm before a person is told."""

CanceledBy = Literal["user", "system"]
_NAMES: Final = {"WITHDRAWAL_FAILED": "failed", "WITHDRAWAL_CANCELED": "canceled"}


async def complete(
    tx: Tx,
    actor: Actor,
    withdrawal: Withdrawal,
    *,
    world: Kind,
    evidence: str,
    transaction_hash: str | None = None,
    fee: int = 0,
) -> Withdrawal:
    """The money has left: settle it against the world. `evidence` is what proves it, such as a hash."""
    legs = [
        Leg(withdrawal.user_id, Kind.WITHDRAWING, -withdrawal.amount),
        Leg(withdrawal.marketplace_id, world, withdrawal.amount),
    ]
    entry = Entry(f"withdrawal:{withdrawal.id}:end", "withdrawal_completed", withdrawal.id, legs, evidence)
    await ledger.post(tx, actor, entry)
    done = await store.move(
        tx, withdrawal.id, "WITHDRAWAL_COMPLETED", committed=True, transaction_hash=transaction_hash, fee=fee
    )
    payload = {
        "withdrawalId": done.id,
        "userId": done.user_id,
        "amount": format_amount(done.amount),
        "currency": done.currency,
        "completedAt": to_wire(done.updated_at),
        **({} if transaction_hash is None else {"transactionHash": transaction_hash}),
        **_payout_of(done),
    }
    await _tell(tx, actor, done, "completed", payload)
    return done


async def give_back(
    tx: Tx,
    actor: Actor,
    withdrawal: Withdrawal,
    status: str,
    reason: str,
    error_code: str | None = None,
    *,
    canceled_by: CanceledBy = "system",
) -> Withdrawal:
    """It certainly did not leave and will not: give it back. `status` is WITHDRAWAL_FAILED or WITHDRAWAL_CANCELED."""
    name = _NAMES[status]
    legs = [
        Leg(withdrawal.user_id, Kind.WITHDRAWING, -withdrawal.amount),
        Leg(withdrawal.user_id, Kind.AVAILABLE, withdrawal.amount),
    ]
    entry = Entry(f"withdrawal:{withdrawal.id}:end", f"withdrawal_{name}", withdrawal.id, legs, reason)
    around = await ledger.post(tx, actor, entry)
    available = around[withdrawal.user_id, Kind.AVAILABLE]
    done = await store.move(tx, withdrawal.id, status, failure_reason=reason)
    payload: dict[str, Any] = {
        "withdrawalId": done.id,
        "userId": done.user_id,
        "amount": format_amount(done.amount),
        "reason": reason,
        **_payout_of(done),
    }
    if status == "WITHDRAWAL_CANCELED":
        payload |= {
            "canceledBy": canceled_by,
            "refundedToBalance": True,
            "newAvailableBalance": format_amount(available.after),
        }
    elif error_code is not None:
        payload["errorCode"] = error_code
    back = catalogue.balance_credited(done.user_id, done.amount, "withdrawal_cancel", done.id, available)
    await _tell(tx, actor, done, name, payload, before=back, failed=status == "WITHDRAWAL_FAILED")
    return done


async def reverse(
    tx: Tx, actor: Actor, withdrawal: Withdrawal, *, amount: Units, reason: str, evidence: str
) -> Withdrawal:
    """A payout came back after it was completed: credit what came back. `evidence` is the deposit that brought it.

    The withdrawal stays completed, as it was; the refund is settled beside it. `amount` is at most the withdrawal's.
    """
    assert 0 < amount <= withdrawal.amount
    legs = [
        Leg(withdrawal.marketplace_id, Kind.WORLD_AIRTM, -amount),
        Leg(withdrawal.user_id, Kind.AVAILABLE, amount),
    ]
    entry = Entry(f"withdrawal:{withdrawal.id}:reversal", "withdrawal_reversed", withdrawal.id, legs, evidence)
    around = await ledger.post(tx, actor, entry)
    available = around[withdrawal.user_id, Kind.AVAILABLE]
    await store.settle_refund(tx, evidence, "REVERSED", withdrawal, reason)
    await resolve_findings(tx, [MISMATCH], withdrawal.id, {"depositId": evidence}, "airtm")
    done = await store.lock(tx, withdrawal.id)
    assert done.reversal is not None
    payload = {
        "withdrawalId": done.id,
        "userId": done.user_id,
        "amount": format_amount(amount),
        "currency": done.currency,
        "reason": reason,
        "reversedAt": to_wire(done.reversal.at),
        "newAvailableBalance": format_amount(available.after),
        **_payout_of(done),
    }
    back = catalogue.balance_credited(done.user_id, amount, "withdrawal_cancel", done.id, available)
    await _tell(tx, actor, done, "reversed", payload, before=back)
    return done


async def commit(tx: Tx, actor: Actor, withdrawal: Withdrawal) -> Withdrawal:
    """Airtm has been told to pay, or has been found to have been."""
    if withdrawal.committed:
        return withdrawal
    done = await store.move(tx, withdrawal.id, "WITHDRAWAL_COMMITTED", committed=True)
    kinds = [Kind.WITHDRAWING, Kind.AVAILABLE]
    balances = await ledger.balances(tx, done.marketplace_id, done.user_id, kinds)
    payload = {
        "withdrawalId": done.id,
        "userId": done.user_id,
        "amount": format_amount(done.amount),
        "currency": done.currency,
        "committedBalance": format_amount(balances[Kind.WITHDRAWING]),
        "availableBalance": format_amount(balances[Kind.AVAILABLE]),
    }
    await _tell(tx, actor, done, "committed", payload)
    return done


async def apply(
    tx: Tx, actor: Actor, withdrawal_id: str, payout: Payout, *, canceled_by: CanceledBy = "system"
) -> Withdrawal:
    """Make a withdrawal follow its payout, however the news came; safe to repeat, in any order.

    It goes forward only, and an end is never left. What is not understood changes nothing and is told: the money
    stays where it is held.
    """
    withdrawal = await store.lock(tx, withdrawal_id)
    fault = await _fault(tx, withdrawal, payout)
    if fault is not None:
        await _tell_a_person(tx, withdrawal, payout, fault)
        return withdrawal
    await resolve_findings(tx, [MISMATCH], withdrawal.id, {"airtmStatus": payout.raw_status}, "airtm")
    target = TOLD.get(payout.status)
    if target is None or not WITHDRAWAL.allows(withdrawal.status, target):
        return withdrawal
    if target in _NAMES:
        reason = payout.reason or f"Airtm says that the payout is {payout.raw_status}."
        return await give_back(tx, actor, withdrawal, target, reason, payout.reason_code, canceled_by=canceled_by)
    return await _advance(tx, actor, withdrawal, payout, target)


async def missing(tx: Tx, withdrawal_id: str) -> Withdrawal:
    """Airtm does not show a payout whose id it once gave us: nothing moves, a person decides."""
    withdrawal = await store.lock(tx, withdrawal_id)
    await _tell_a_person(tx, withdrawal, None, "Airtm does not know this payout any more")
    return withdrawal


async def _fault(tx: Tx, withdrawal: Withdrawal, payout: Payout) -> str | None:
    """Why this payout's word is not followed, or None."""
    if payout.id != withdrawal.airtm_payout_id:
        return "the payout is another one"
    if payout.amount != withdrawal.amount:
        return "the payout is over another amount"
    if withdrawal.reversal is None and payout.status == "UNRECOGNISED":
        return f"Airtm says {payout.raw_status}, which is no status that we know"
    if withdrawal.status in WITHDRAWAL.terminal:
        return _fault_of_ended(withdrawal, payout)
    if payout.status == "IN_TROUBLE" and await store.stands_still(tx, withdrawal.id, TROUBLE_SECONDS_MAX):
        return f"Airtm says {payout.raw_status}, for more than an hour"
    return None


def _fault_of_ended(withdrawal: Withdrawal, payout: Payout) -> str | None:
    """Late news of a state that is over is no fault; nor is any of a payout that is known to have come back."""
    target = TOLD.get(payout.status)
    if withdrawal.reversal is None and target in WITHDRAWAL.terminal and target != withdrawal.status:
        return f"Airtm says {payout.raw_status} of a payout that had ended otherwise"
    return None


async def _tell_a_person(tx: Tx, withdrawal: Withdrawal, payout: Payout | None, fault: str) -> None:
    evidence: dict[str, Any] = {"withdrawalId": withdrawal.id, "status": withdrawal.status, "fault": fault}
    if payout is not None:
        evidence |= {
            "airtmPayoutId": payout.id,
            "airtmStatus": payout.raw_status,
            "amount": format_amount(payout.amount),
        }
    found = Found(withdrawal.marketplace_id, MISMATCH, "Withdrawal", withdrawal.id, evidence)
    await raise_finding(tx, found, "airtm")


async def _advance(tx: Tx, actor: Actor, withdrawal: Withdrawal, payout: Payout, target: str) -> Withdrawal:
    withdrawal = await commit(tx, actor, withdrawal)
    if target == "WITHDRAWAL_COMPLETED":
        return await complete(tx, actor, withdrawal, world=Kind.WORLD_AIRTM, evidence=payout.id, fee=payout.fee)
    done = await store.move(tx, withdrawal.id, target, committed=True, fee=payout.fee)
    payload = {"withdrawalId": done.id, "userId": done.user_id, "amount": format_amount(done.amount)}
    if target == "WITHDRAWAL_PENDING":
        await _tell(tx, actor, done, "pending", payload | _payout_of(done))
    else:
        action = payout.reason or "Airtm waits for the recipient to act."
        await _tell(tx, actor, done, "pending_user_action", payload | {"actionRequired": action})
    return done


def _payout_of(withdrawal: Withdrawal) -> dict[str, str]:
    return {} if withdrawal.airtm_payout_id is None else {"airtmPayoutId": withdrawal.airtm_payout_id}


async def _tell(
    tx: Tx,
    actor: Actor,
    withdrawal: Withdrawal,
    name: str,
    payload: dict[str, Any],
    *,
    before: Event | None = None,
    failed: bool = False,
) -> None:
    """The event `withdrawal.<name>` and its audit entry, behind an event that comes first."""
    event = Event(f"withdrawal.{name}", "Withdrawal", withdrawal.id, payload, withdrawal.user_id)
    entry = AuditEntry(
        f"WITHDRAWAL_{name.upper()}",
        "Withdrawal",
        withdrawal.id,
        None,
        payload,
        "FAILURE" if failed else "SUCCESS",
        user_id=withdrawal.user_id,
    )
    await record(tx, actor, events=[event] if before is None else [before, event], audit=[entry])
