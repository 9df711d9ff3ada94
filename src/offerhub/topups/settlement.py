"""What Airtm says of a payin becomes what we say of the top-up: the only place where one changes the other.

A payin is applied under the top-up's row lock, so however many look at Airtm at once, one of them moves it and
credits it, and the rest find it done. The states only go forward, and a top-up that has ended stays as it is. What
cannot be this top-up's payin, or must not be credited without a person's look, is recorded and moves nothing.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import structlog

from offerhub.errors import Refusal
from offerhub.events import catalogue
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.findings.model import Found
from offerhub.findings.service import raise_finding, resolve_findings
from offerhub.kernel.money import format_amount
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Around, Entry, Leg
from offerhub.providers.airtm.model import Payin, PayinStatus
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.topups import store
from offerhub.topups.model import TopUp
from offerhub.topups.states import AWAITING, TOPUP

TARGETS: Final[Mapping[PayinStatus, str]] = {
    "CREATED": AWAITING,
    "PROCESSING": "TOPUP_PROCESSING",
    "CONFIRMED": "TOPUP_SUCCEEDED",
    "CANCELED": "TOPUP_CANCELED",
    "FAILED": "TOPUP_FAILED",
}
"""Which state a payin's status stands for (providers 2.3); an unrecognised one stands for none."""

LIFETIME_DAYS: Final = 15
"""How long Airtm waits for a payin's confirmation (providers 2.3)."""

MISMATCH: Final = "PAYIN_MISMATCH"
"""The kind of finding about a payin whose word is not followed."""

CanceledBy = Literal["user", "system"]

log = structlog.get_logger("offerhub.topups")


async def apply(tx: Tx, actor: Actor, topup: TopUp, payin: Payin, *, canceled_by: CanceledBy = "system") -> TopUp:
    """Let a top-up follow its payin; returns it as it then is. Safe to repeat, in any order, at the same time.

    `canceled_by` says whose wish it is if the payin turns out canceled: `user` when we have been asked to.
    """
    current = await store.lock(tx, topup.id)
    fault = _fault(current, payin)
    if fault is not None:
        return await _tell_a_person(tx, current, payin, fault)
    await resolve_findings(tx, [MISMATCH], current.id, {"airtmStatus": payin.raw_status}, "airtm")
    target = TARGETS.get(payin.status)
    if target is None or not TOPUP.allows(current.status, target):
        return await store.saw(tx, current.id, payin_id=payin.id, airtm_status=payin.raw_status)
    return await _move(tx, actor, current, payin, target, canceled_by)


async def refuse(tx: Tx, actor: Actor, topup: TopUp, refusal: Refusal) -> TopUp:
    """End a top-up for which there certainly is no payin."""
    failed = await store.move(tx, topup.id, "TOPUP_FAILED", ["TOPUP_CREATED"], failure_reason=refusal.message)
    await _tell(tx, actor, topup, failed, {"reason": refusal.message, "errorCode": refusal.code})
    return failed


async def missing(tx: Tx, topup: TopUp) -> TopUp:
    """Airtm says that it has no such payin, though it once gave us its id: nothing moves, a person decides."""
    current = await store.lock(tx, topup.id)
    return await _tell_a_person(tx, current, None, "Airtm does not know this payin any more")


def _fault(topup: TopUp, payin: Payin) -> str | None:
    """Why this payin may not move this top-up, or None."""
    if payin.code != topup.id or topup.airtm_payin_id not in (None, payin.id):
        return "the payin is another one"
    if payin.amount != topup.amount:
        return "the payin is over another amount"
    if payin.status == "UNRECOGNISED":
        return f"Airtm says {payin.raw_status}, which is no status that we know"
    if topup.status == "TOPUP_SUCCEEDED":
        return "the payin was confirmed and has ended otherwise" if payin.status in ("CANCELED", "FAILED") else None
    return _fault_of_confirmed(topup, payin) if payin.status == "CONFIRMED" else None


def _fault_of_confirmed(topup: TopUp, payin: Payin) -> str | None:
    if topup.is_settled:
        return f"the payin was confirmed after {topup.status}"
    # Airtm need not tell who has paid.
    if payin.airtm_user_id not in (None, topup.airtm_user_id):
        return "somebody else has paid"
    return None if payin.net_amount > 0 else "nothing has arrived"


async def _tell_a_person(tx: Tx, topup: TopUp, payin: Payin | None, fault: str) -> TopUp:
    evidence: dict[str, Any] = {"topupId": topup.id, "status": topup.status, "fault": fault}
    if payin is not None:
        evidence |= {
            "airtmPayinId": payin.id,
            "airtmStatus": payin.raw_status,
            "amount": format_amount(payin.amount),
            "netAmount": format_amount(payin.net_amount),
            "airtmUserId": payin.airtm_user_id,
        }
    await raise_finding(tx, Found(topup.marketplace_id, MISMATCH, "TopUp", topup.id, evidence), "airtm")
    if payin is None or payin.code != topup.id:
        return await store.saw(tx, topup.id, fault=fault)
    return await store.saw(tx, topup.id, payin_id=payin.id, airtm_status=payin.raw_status, fault=fault)


async def _move(tx: Tx, actor: Actor, topup: TopUp, payin: Payin, target: str, canceled_by: CanceledBy) -> TopUp:
    succeeded = target == "TOPUP_SUCCEEDED"
    reason = payin.failure_reason or "Airtm says that the payment failed." if target == "TOPUP_FAILED" else None
    moved = await store.move(
        tx,
        topup.id,
        target,
        [topup.status],
        payin_id=payin.id,
        airtm_status=payin.raw_status,
        confirmation_uri=payin.checkout_url,
        lifetime_days=LIFETIME_DAYS if target == AWAITING else None,
        net_amount=payin.net_amount if succeeded else None,
        # What did not arrive, whatever Airtm calls it.
        fee=payin.amount - payin.net_amount if succeeded else None,
        failure_reason=reason,
    )
    more: dict[str, Any] = {}
    credited: Around | None = None
    if succeeded:
        credited = await _credit(tx, actor, moved)
        balance = format_amount(credited.after)
        more = {"newAvailableBalance": balance, "newBalance": balance}
    elif target == "TOPUP_FAILED":
        more = {"reason": reason}
    elif target == "TOPUP_CANCELED":
        more = {"canceledBy": canceled_by}
    await _tell(tx, actor, topup, moved, more, credited)
    log.info("topup_moved", topup_id=moved.id, before=topup.status, after=moved.status)
    return moved


async def _credit(tx: Tx, actor: Actor, topup: TopUp) -> Around:
    """Post what arrived: Airtm's side to the user. Returns the available balance around it."""
    assert topup.net_amount is not None
    legs = [
        Leg(topup.marketplace_id, Kind.WORLD_AIRTM, -topup.net_amount),
        Leg(topup.user_id, Kind.AVAILABLE, topup.net_amount),
    ]
    entry = Entry(f"topup:{topup.id}:credit", "topup", topup.id, legs, topup.airtm_payin_id)
    return (await ledger.post(tx, actor, entry))[topup.user_id, Kind.AVAILABLE]


async def _tell(
    tx: Tx, actor: Actor, before: TopUp, after: TopUp, more: Mapping[str, Any], credited: Around | None = None
) -> None:
    """The event and the audit entry of a move, and those of the credit."""
    payload: dict[str, Any] = {
        "topupId": after.id,
        "userId": after.user_id,
        "amount": format_amount(after.amount),
        "currency": after.currency,
        **({"airtmPayinId": after.airtm_payin_id} if after.airtm_payin_id is not None else {}),
        **({"confirmationUri": after.confirmation_uri} if after.status == AWAITING else {}),
        **more,
    }
    events = []
    if credited is not None:
        assert after.net_amount is not None
        assert after.fee is not None
        payload |= {"netAmount": format_amount(after.net_amount), "fee": format_amount(after.fee)}
        events.append(catalogue.balance_credited(after.user_id, after.net_amount, "topup", after.id, credited))
    events.append(Event(_EVENTS[after.status], "TopUp", after.id, payload, after.user_id))
    result: Literal["SUCCESS", "FAILURE"] = "FAILURE" if after.status == "TOPUP_FAILED" else "SUCCESS"
    was = {"status": before.status}
    entry = AuditEntry(after.status, "TopUp", after.id, was, payload, result, user_id=after.user_id)
    await record(tx, actor, events=events, audit=[entry])


_EVENTS: Final[Mapping[str, str]] = {
    AWAITING: "topup.confirmation_required",
    "TOPUP_PROCESSING": "topup.processing",
    "TOPUP_SUCCEEDED": "topup.succeeded",
    "TOPUP_FAILED": "topup.failed",
    "TOPUP_CANCELED": "topup.canceled",
}
"""Which event tells of entering a state (contract 6.2)."""
