"""What health asks: one probe for each dependency that an installation has."""

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from offerhub.errors import ProviderError
from offerhub.operations.model import Facts, Probe, Shortcoming
from offerhub.operations.needs import needs
from offerhub.operations.queues import queue_counts
from offerhub.queues import NAMES
from offerhub.runtime.database import Database
from offerhub.runtime.line import Line
from offerhub.runtime.migrations import read_applied, read_migrations
from offerhub.runtime.queue import Queues
from offerhub.runtime.urgency import Urgency, working
from offerhub.treasury.service import TreasuryLow
from offerhub.wallets.deposits import DepositWatcher

if TYPE_CHECKING:
    import redis.asyncio

    from offerhub.app import Product

DEPOSIT_LAG_SECONDS_MAX: Final = 120.0
"""Longer than this without having booked everything, and health says so."""
IDLE_SECONDS_MAX: Final = 60.0
"""A queue without workers is told of once a job has waited for so long."""


def probes(made: "Product", client: "redis.asyncio.Redis", queues: Queues) -> dict[str, Probe]:
    """By the name that health gives it: how each dependency of a process is asked."""

    async def database() -> None:
        await made.database.run(lambda tx: tx.value("SELECT 1"), read_only=True)

    async def redis() -> None:
        await client.ping()

    async def stellar() -> None:
        await made.horizon.latest_ledger()
        low = await made.platform.shortage()
        if low is not None:
            raise Shortcoming(low)

    async def treasury() -> None:
        try:
            await made.treasury.check_floor()
        except TreasuryLow as error:
            raise Shortcoming(str(error)) from error

    airtm = Probe(None)
    if made.airtm is not None and made.lines.airtm is not None:
        airtm = _provider(made.lines.airtm, made.airtm.reach)
    probes = {
        "database": Probe(database, essential=True),
        "schema": Probe(functools.partial(_schema, made.database), essential=True),
        "redis": Probe(redis, essential=True),
        "queue": Probe(functools.partial(_queues, made.database, queues)),
        "trustlessWork": _provider(made.lines.trustless_work, made.trustless_work.reach),
        "airtm": airtm,
        "stellar": _provider(made.lines.stellar, stellar),
        "deposits": Probe(functools.partial(_deposits, made.deposits)),
    }
    if made.rpc is not None and made.lines.rpc is not None:
        probes["stellarRpc"] = _provider(made.lines.rpc, made.rpc.reach)
    return probes if made.airtm is None else {**probes, "treasury": Probe(treasury)}


def _provider(line: Line, reach: Callable[[], Awaitable[None]]) -> Probe:
    async def check() -> None:
        try:
            with working(Urgency.PROBE):
                await reach()
        except ProviderError as error:
            raise Shortcoming("It refuses our credentials") from error

    return Probe(check, breaker=lambda: line.breaker)


@functools.cache
def _versions() -> frozenset[int]:
    return frozenset(migration.version for migration in read_migrations())


async def _schema(database: Database) -> Facts:
    """The schema that this program needs; a newer one is as good, because migrations only add."""
    applied = await database.run(lambda tx: read_applied(tx.rows), read_only=True)
    facts = Facts(version=max(applied, default=0))
    if pending := len(_versions().difference(applied)):
        raise Shortcoming(f"{pending} migrations are not applied", facts, unusable=True)
    return facts


async def _queues(database: Database, queues: Queues) -> None:
    told = []
    for name, queue in (await queue_counts(database, queues, NAMES)).items():
        waits = queue.oldestSeconds is not None and queue.oldestSeconds > IDLE_SECONDS_MAX
        needed = needs(
            waiting=queue.waiting + queue.prioritized + queue.notHandedOver,
            dead_letters=queue.deadLetters,
            workers=queue.workers if waits else None,
            paused=queue.paused,
        )
        told += [f"{name} needs {what}" for what in needed]
    if told:
        raise Shortcoming("; ".join(told))


async def _deposits(watcher: DepositWatcher) -> Facts:
    lag = await watcher.lag()
    facts = Facts(lag=lag.seconds)
    if lag.gaps:
        raise Shortcoming(f"{lag.gaps} spans of ledgers were missed and are not filled", facts)
    if lag.seconds is not None and lag.seconds > DEPOSIT_LAG_SECONDS_MAX:
        raise Shortcoming("Deposits are not being booked", facts)
    return facts
