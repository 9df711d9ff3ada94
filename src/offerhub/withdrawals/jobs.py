"""Background work of withdrawals: asking Airtm what became of payouts that nobody told us about."""

from dataclasses import dataclass

import structlog

from offerhub.errors import ProviderRateLimited, ProviderTimeout, ProviderUnavailable, Refusal
from offerhub.providers.airtm.client import Airtm
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database
from offerhub.withdrawals import settlement, store
from offerhub.withdrawals.model import Withdrawal

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did: how many withdrawals it asked about, how many moved, and how many Airtm did not tell of."""

    checked: int
    changed: int
    failed: int


async def refresh_unsettled(database: Database, airtm: Airtm, *, limit: int, stale_seconds: float) -> Report:
    """Ask about at most `limit` payouts that were not asked about for `stale_seconds`, the longest ago first.

    When Airtm itself cannot be reached, the rest waits until it is stale again.
    """
    due = await database.run(lambda tx: store.take_unsettled(tx, limit, stale_seconds))
    checked = changed = failed = 0
    for withdrawal in due:
        checked += 1
        try:
            changed += (await refresh(database, airtm, withdrawal)).status != withdrawal.status
        except Refusal as refusal:
            failed += 1
            log.warning("withdrawal.not_refreshed", withdrawal_id=withdrawal.id, code=refusal.code)
            if isinstance(refusal, ProviderUnavailable | ProviderTimeout | ProviderRateLimited):
                break
    return Report(checked, changed, failed)


async def refresh(database: Database, airtm: Airtm, withdrawal: Withdrawal) -> Withdrawal:
    """Ask Airtm about one payout and follow it. Raises what reading from Airtm raises.

    A payout that Airtm does not show is no reason to give money back: nothing changes, and a person is told.
    """
    assert withdrawal.airtm_payout_id is not None
    payout = await airtm.payout(withdrawal.airtm_payout_id)
    actor = system(withdrawal.marketplace_id, "airtm")
    if payout is None:
        return await database.run(lambda tx: settlement.missing(tx, withdrawal.id))
    return await database.run(lambda tx: settlement.apply(tx, actor, withdrawal.id, payout))
