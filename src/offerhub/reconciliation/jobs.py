"""The jobs: which there are on this installation, how often each runs, and what each asks (contract 8)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.escrows.jobs import compare_escrows
from offerhub.findings.model import Found
from offerhub.findings.service import raise_finding, resolve_findings, unresolved
from offerhub.kernel.clock import Clock
from offerhub.policies.jobs import apply_policies
from offerhub.policies.service import Firing
from offerhub.providers.airtm.client import Airtm
from offerhub.providers.stellar.horizon import Horizon
from offerhub.providers.trustless_work.client import TrustlessWork
from offerhub.reconciliation.model import Outcome, ReconciliationJob
from offerhub.runtime.database import Database, Tx
from offerhub.sagas.engine import Engine
from offerhub.topups import jobs as topups
from offerhub.topups.service import TopUps
from offerhub.treasury.totals import compare_treasury
from offerhub.wallets.deposits import DepositWatcher
from offerhub.wallets.jobs import check_missed_deposits
from offerhub.wallets.totals import Holdings, compare_wallets
from offerhub.withdrawals import jobs as withdrawals
from offerhub.withdrawals import refunds

AIRTM_EVERY_SECONDS: Final = 300.0
AIRTM_BATCH: Final = 50
AIRTM_STALE_SECONDS: Final = 300.0
ESCROWS_EVERY_SECONDS: Final = 600.0
ESCROWS_BATCH: Final = 30
ESCROWS_STALE_SECONDS: Final = 600.0
DEPOSITS_EVERY_SECONDS: Final = 300.0
DEPOSITS_WALLETS: Final = 100
DEPOSITS_LOOKBACK_SECONDS: Final = 24 * 3600.0
Violations = Mapping[str, Sequence[Mapping[str, Any]]]
BOOKS: Final = "BOOKS_VIOLATED"
BOOKS_EVERY_SECONDS: Final = 24 * 3600.0
TOTALS_EVERY_SECONDS: Final = 3600.0
TOTALS_USERS: Final = 200
FINDINGS_MAX: Final = 1_000
POLICIES_EVERY_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.2
"""Between two questions to Trustless Work or Horizon. Airtm is paced by its client's own budget."""


def airtm_jobs(database: Database, airtm: Airtm) -> list[ReconciliationJob]:
    """What is asked of Airtm, where it is the rail."""

    async def sync_topups() -> Outcome:
        done = await topups.refresh_unsettled(database, airtm, limit=AIRTM_BATCH, stale_seconds=AIRTM_STALE_SECONDS)
        return Outcome(done.checked, done.changed, errors=done.failed)

    async def sync_withdrawals() -> Outcome:
        done = await withdrawals.refresh_unsettled(
            database, airtm, limit=AIRTM_BATCH, stale_seconds=AIRTM_STALE_SECONDS
        )
        return Outcome(done.checked, done.changed, errors=done.failed)

    async def sync_refunds() -> Outcome:
        done = await refunds.follow(database, airtm)
        return Outcome(done.checked, done.reversed, done.unexplained, done.failed)

    return [
        ReconciliationJob("sync-topups", AIRTM_EVERY_SECONDS, sync_topups),
        ReconciliationJob("sync-withdrawals", AIRTM_EVERY_SECONDS, sync_withdrawals),
        ReconciliationJob("sync-refunds", AIRTM_EVERY_SECONDS, sync_refunds),
    ]


def books_job(database: Database, prove: Callable[[], Awaitable[Violations]]) -> ReconciliationJob:
    """The proof of the books, whose violations are findings, one for each sentence that does not hold.

    `prove` returns sentence to the rows that violate it. A sentence that holds again ends its finding.
    """

    async def check() -> Outcome:
        violated = await prove()

        async def keep(tx: Tx) -> int:
            for known in await unresolved(tx, [BOOKS], FINDINGS_MAX):
                if known.subject_id not in violated:
                    await resolve_findings(tx, [BOOKS], known.subject_id, {"violations": 0})
            found = [
                Found(DEFAULT_MARKETPLACE_ID, BOOKS, "Books", sentence, {"rows": list(rows)})
                for sentence, rows in violated.items()
            ]
            return sum([await raise_finding(tx, one) for one in found])

        return Outcome(discrepancies=await database.run(keep))

    return ReconciliationJob("check-books", BOOKS_EVERY_SECONDS, check)


def totals_job(
    database: Database, clock: Clock, horizon: Horizon, deposits: DepositWatcher, airtm: Airtm | None
) -> ReconciliationJob:
    """What the books say to be in wallets, in the treasury and at Airtm, beside what is there."""

    async def compare() -> Outcome:
        holdings = Holdings(horizon, deposits, clock, PAUSE_SECONDS)
        done = [await compare_wallets(database, holdings, limit=TOTALS_USERS)]
        if airtm is not None:
            done.append(await compare_treasury(database, holdings, airtm))
        return Outcome(
            checked=sum(one.checked for one in done),
            discrepancies=sum(one.differences for one in done),
            errors=sum(one.failed for one in done),
        )

    return ReconciliationJob("reconcile-totals", TOTALS_EVERY_SECONDS, compare)


def policy_jobs(database: Database, firing: Firing, topups: TopUps) -> list[ReconciliationJob]:
    """What happens by itself because a marketplace has said so."""

    async def apply() -> Outcome:
        done = await apply_policies(database, firing, topups)
        return Outcome(done.due, done.fired, errors=done.failed)

    return [ReconciliationJob("apply-policies", POLICIES_EVERY_SECONDS, apply)]


def chain_jobs(
    database: Database,
    clock: Clock,
    horizon: Horizon,
    trustless_work: TrustlessWork,
    engine: Engine,
    *,
    deposits_scheduled: bool,
) -> list[ReconciliationJob]:
    """What is asked of the chain and of Trustless Work, on every rail."""

    async def sync_escrows() -> Outcome:
        done = await compare_escrows(
            database,
            trustless_work,
            engine,
            clock,
            limit=ESCROWS_BATCH,
            stale_seconds=ESCROWS_STALE_SECONDS,
            pause_seconds=PAUSE_SECONDS,
        )
        return Outcome(done.checked, done.resumed, done.differences, done.failed)

    async def missed_deposits() -> Outcome:
        done = await check_missed_deposits(
            database,
            horizon,
            clock,
            limit=DEPOSITS_WALLETS,
            lookback_seconds=DEPOSITS_LOOKBACK_SECONDS,
            pause_seconds=PAUSE_SECONDS,
        )
        return Outcome(done.checked, done.credited, errors=done.failed)

    return [
        ReconciliationJob("sync-escrows", ESCROWS_EVERY_SECONDS, sync_escrows),
        ReconciliationJob("check-missed-deposits", DEPOSITS_EVERY_SECONDS, missed_deposits, deposits_scheduled),
    ]
