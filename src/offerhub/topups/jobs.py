"""Background work on top-ups: look after those whose news did not reach us (contract 8, `sync-topups`)."""

from dataclasses import dataclass
from typing import Final

import structlog

from offerhub.errors import ProviderRateLimited, ProviderTimeout, ProviderUnavailable, Refusal
from offerhub.providers.airtm.client import Airtm
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database
from offerhub.topups import store
from offerhub.topups.model import TopUp
from offerhub.topups.service import check

LIMIT_DEFAULT: Final = 50
STALE_SECONDS_DEFAULT: Final = 300

log = structlog.get_logger("offerhub.topups")


@dataclass(frozen=True, slots=True)
class Report:
    """How many top-ups were asked about, how many have moved, and about how many Airtm gave no answer."""

    checked: int
    changed: int
    failed: int


async def refresh_unsettled(
    database: Database,
    airtm: Airtm,
    *,
    limit: int = LIMIT_DEFAULT,
    stale_seconds: float = STALE_SECONDS_DEFAULT,
) -> Report:
    """Ask Airtm about top-ups without an end that nobody has looked at for a while; safe beside any other look.

    A payin that cannot be read makes room for the next one. When Airtm itself cannot be reached, the rest waits for
    the next run.
    """
    waiting = await database.run(lambda tx: store.unsettled(tx, limit, stale_seconds), read_only=True)
    checked = changed = failed = 0
    for topup in waiting:
        checked += 1
        try:
            after = await check(database, airtm, system(topup.marketplace_id, "topups"), topup)
            changed += after.status != topup.status
        except Refusal as refusal:
            failed += 1
            log.warning("topup_check_failed", topup_id=topup.id, code=refusal.code, error=refusal.message)
            if isinstance(refusal, ProviderUnavailable | ProviderTimeout | ProviderRateLimited):
                break
            await _pass_over(database, topup)
    return Report(checked, changed, failed)


async def _pass_over(database: Database, topup: TopUp) -> None:
    """Let the others have their turn before this one is asked about again."""
    await database.run(lambda tx: store.saw(tx, topup.id))
