"""What Airtm gave back of payouts: read from the list of our deposits there, and booked to whom it was taken from.

A deposit of the type `refunded` is the only evidence that money has come back (providers.md 2.3). Each is kept once,
together with the cursor that has passed it, and then settled in a transaction of its own, however many look at it:

- its withdrawal was completed: the amount is credited again (`settlement.reverse`);
- its withdrawal ended without having been paid: the money went back to its user then, and nothing is booked;
- its withdrawal has not ended: its payout is read first, and while that leaves it open, so does this;
- anything else, such as a payout that is none of ours, moves nothing: a person is told.
"""

from dataclasses import dataclass
from typing import Final

import structlog

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.errors import ProviderError, ProviderRateLimited, ProviderTimeout, ProviderUnavailable, Refusal
from offerhub.findings.model import Found
from offerhub.findings.service import raise_finding
from offerhub.kernel.money import format_amount
from offerhub.providers.airtm.client import DEPOSITS_PER_PAGE, Airtm
from offerhub.providers.airtm.model import Deposits, Payout
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database, Tx
from offerhub.withdrawals import settlement, store
from offerhub.withdrawals.model import Refund, Withdrawal
from offerhub.withdrawals.states import WITHDRAWAL
from offerhub.withdrawals.store import Marks

OPEN_MAX: Final = 100
"""How many open refunds one look settles; the rest waits for the next."""
UNEXPLAINED: Final = "REFUND_UNEXPLAINED"
"""The kind of finding about a refund that nothing could be concluded from."""

_OF_THE_CURSOR: Final = frozenset({400, 404, 422})
"""What an answer to a cursor that Airtm does not take any more may have as its status."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What a look did: refunds looked at, credited, left to a person, and those that Airtm gave no answer about."""

    checked: int
    reversed: int
    unexplained: int
    failed: int


async def follow(database: Database, airtm: Airtm, *, per_page: int = DEPOSITS_PER_PAGE) -> Report:
    """Take in what was given back since the last look, and settle it. Raises what reading from Airtm raises.

    Safe to repeat and to run many at a time: each refund is kept once and settled once.
    """
    await _take_in(database, airtm, per_page)
    refunds = await database.run(lambda tx: store.take_open_refunds(tx, OPEN_MAX))
    came_to: list[str] = []
    failed = 0
    for refund in refunds:
        try:
            came_to.append(await _settle(database, airtm, refund))
        except Refusal as refusal:
            failed += 1
            log.warning("withdrawal.refund_not_settled", deposit_id=refund.deposit_id, code=refusal.code)
            if isinstance(refusal, ProviderUnavailable | ProviderTimeout | ProviderRateLimited):
                break
    return Report(len(came_to) + failed, came_to.count("REVERSED"), came_to.count("UNEXPLAINED"), failed)


async def _take_in(database: Database, airtm: Airtm, per_page: int) -> None:
    """Read the list of deposits where it may have grown: behind its end, and from its beginning to what was first."""
    known = await database.run(store.marks, read_only=True)
    if known.end is not None:
        try:
            await _read_on(database, airtm, per_page, known.end)
        except ProviderError as error:
            if error.details.get("originalStatus") not in _OF_THE_CURSOR:
                raise
            # What has come since must not stay hidden behind it.
            log.warning("airtm.cursor_refused", error=error.message)
            await database.run(store.forget_marks)
            known = Marks(None, None)
    await _read_from_beginning(database, airtm, per_page, known)


async def _read_on(database: Database, airtm: Airtm, per_page: int, after: str) -> None:
    while True:
        page = await airtm.deposits(after=after, per_page=per_page)
        if not page.ids or page.end_cursor in (None, after):
            return
        await _keep(database, page, Marks(None, page.end_cursor))
        assert page.end_cursor is not None
        after = page.end_cursor


async def _read_from_beginning(database: Database, airtm: Airtm, per_page: int, known: Marks) -> None:
    """The marks move in the end only, so that a look which is cut short is repeated as a whole."""
    page = await airtm.deposits(per_page=per_page)
    if not page.ids:
        return
    first = page.ids[0]
    while True:
        following = None
        if known.first not in page.ids and page.end_cursor is not None:
            following = await airtm.deposits(after=page.end_cursor, per_page=per_page)
        if following is None or not following.ids or following.end_cursor == page.end_cursor:
            # At the end there is nothing behind; at what was first before, the end is where it was.
            await _keep(database, page, Marks(first, None if known.first in page.ids else page.end_cursor))
            return
        await _keep(database, page, Marks(None, None))
        page = following


async def _keep(database: Database, page: Deposits, marks: Marks) -> None:
    async def keep(tx: Tx) -> int:
        found = [(one.id, one.payout_id, int(one.amount)) for one in page.refunds]
        fresh = await store.keep_refunds(tx, found) if found else 0
        await store.set_marks(tx, marks)
        return fresh

    fresh = await database.run(keep)
    if fresh:
        log.warning("withdrawal.payouts_given_back", deposits=fresh)


async def _settle(database: Database, airtm: Airtm, refund: Refund) -> str:
    """Conclude from one refund what can be concluded; returns what that was, or nothing if another look has."""
    payout_id = refund.payout_id
    found = None
    if payout_id is not None:
        found = await database.run(lambda tx: store.of_payout(tx, payout_id), read_only=True)
    payout = None
    if found is not None and payout_id is not None and found.status not in WITHDRAWAL.terminal:
        payout = await airtm.payout(payout_id)
    return await database.run(lambda tx: _conclude(tx, refund, found, payout))


async def _conclude(tx: Tx, refund: Refund, found: Withdrawal | None, payout: Payout | None) -> str:
    locked = await store.lock_refund(tx, refund.deposit_id)
    if locked.status != "OPEN":
        return ""
    withdrawal = None if found is None else await store.lock(tx, found.id)
    actor = system(DEFAULT_MARKETPLACE_ID if found is None else found.marketplace_id, "airtm")
    if withdrawal is not None and payout is not None and withdrawal.status not in WITHDRAWAL.terminal:
        withdrawal = await settlement.apply(tx, actor, withdrawal.id, payout)
    to, reason = _meaning(refund, withdrawal)
    if to == "REVERSED":
        assert withdrawal is not None
        await settlement.reverse(
            tx, actor, withdrawal, amount=refund.amount, reason=reason, evidence=refund.deposit_id
        )
    elif to == "OPEN":
        log.warning("withdrawal.refund_waits", deposit_id=refund.deposit_id, reason=reason)
    else:
        await store.settle_refund(tx, refund.deposit_id, to, withdrawal, reason)
    if to == "UNEXPLAINED":
        await _leave_to_a_person(tx, refund, withdrawal, reason)
    return to


def _meaning(refund: Refund, withdrawal: Withdrawal | None) -> tuple[str, str]:
    """What a refund comes to, and why."""
    if withdrawal is None:
        return "UNEXPLAINED", "it gives back no payout of ours"
    if withdrawal.status not in WITHDRAWAL.terminal:
        return "OPEN", "Airtm has not said how the payout ended"
    if withdrawal.status != "WITHDRAWAL_COMPLETED":
        is_same = refund.amount == withdrawal.amount
        return (
            ("RETURNED", "the user was given it back when the withdrawal ended")
            if is_same
            else ("UNEXPLAINED", "it is not what the user was given back")
        )
    if withdrawal.reversal is not None:
        return "UNEXPLAINED", "the payout was given back before"
    if refund.amount > withdrawal.amount:
        return "UNEXPLAINED", "it is more than was paid"
    return "REVERSED", "Airtm gave the payout back after it was completed."


async def _leave_to_a_person(tx: Tx, refund: Refund, withdrawal: Withdrawal | None, reason: str) -> None:
    """Money is at Airtm of which we cannot say whose it is: it is told, and nothing is booked."""
    evidence = {
        "depositId": refund.deposit_id,
        "airtmPayoutId": refund.payout_id,
        "amount": format_amount(refund.amount),
        "withdrawalId": None if withdrawal is None else withdrawal.id,
        "reason": reason,
    }
    owner = DEFAULT_MARKETPLACE_ID if withdrawal is None else withdrawal.marketplace_id
    found = Found(owner, UNEXPLAINED, "AirtmDeposit", refund.deposit_id, evidence, amount=int(refund.amount))
    await raise_finding(tx, found, "airtm")
