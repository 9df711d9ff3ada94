"""What a process does beside answering requests: hand jobs over, run them, sweep sagas, watch for deposits."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from offerhub.app import Product
from offerhub.audit.chain import Sealer
from offerhub.edge import idempotency
from offerhub.reconciliation import service as reconciliation
from offerhub.runtime.database import UNREACHABLE, Tx, heed_cancellation
from offerhub.runtime.leases import Lease, LeaseToken
from offerhub.runtime.outbox import Relay
from offerhub.runtime.queue import Handler, Queues, Workers
from offerhub.runtime.schedules import Schedules
from offerhub.sagas import engine
from offerhub.webhooks import service as inbox
from offerhub.webhooks.jobs import Processing
from offerhub.webhooks.jobs import purge as purge_webhooks

CONCURRENCY: Final[Mapping[str, int]] = {engine.QUEUE: 32, inbox.QUEUE: 8, reconciliation.QUEUE: 1}
CLOSE_SECONDS: Final = 10.0
"""How long running jobs may finish when the process stops; what is left is resumed by another."""

WALLETS_SECONDS: Final = 30.0
"""How often wallets are looked for whose set-up was refused."""
ANSWERS_SECONDS: Final = 600.0
"""How often idempotent answers and webhooks are looked for whose time is over."""
SEALS_SECONDS: Final = 2.0
"""How often audit entries are looked for that are not sealed yet."""
RUNS_SECONDS: Final = 3600.0
"""How often runs of reconciliation jobs are looked for that ended long ago."""

log = structlog.get_logger("offerhub.worker")


async def _keep_house(made: Product, name: str, chore: Callable[[Tx], Awaitable[int]], seconds: float) -> None:
    """Do a chore now and then, again at once while it finds something to do; any number of processes may."""
    while True:
        done = 0
        try:
            done = await made.database.run(chore)
            if done:
                log.debug("chore_done", chore=name, rows=done)
        except UNREACHABLE as error:
            log.warning("chore_delayed", chore=name, error=str(error))
        heed_cancellation()
        await made.clock.sleep(1.0 if done else seconds)


@contextlib.asynccontextmanager
async def background(made: Product, *, schedules: bool | None = None) -> AsyncIterator[None]:
    """Run the background work of a process while the block runs; stop it cleanly in the end.

    `schedules` tells whether this process looks after what runs by the clock. None: unless NODE_ENV is `test`.
    """
    redis_url = made.settings.storage.redis_url.reveal()
    queues = Queues(redis_url)
    relay = Relay(made.database, queues)

    async def drive(payload: Mapping[str, Any]) -> None:
        await made.engine.drive(payload["sagaId"])

    webhooks = Processing(made.database, made.engine, made.airtm)
    handlers: dict[tuple[str, str], Handler] = {
        (engine.QUEUE, engine.JOB): drive,
        (inbox.QUEUE, inbox.JOB): webhooks.process,
        **made.reconciliation.handlers(),
    }
    workers = Workers(redis_url, handlers, CONCURRENCY, finish=relay.finish)
    holder = f"{socket.gethostname()}:{os.getpid()}"

    async def watch(_: LeaseToken) -> None:
        await made.deposits.watch()

    tasks = [
        asyncio.create_task(_keep_house(made, "wallets", made.wallets.begin_again, WALLETS_SECONDS), name="wallets"),
        asyncio.create_task(_keep_house(made, "answers", idempotency.purge, ANSWERS_SECONDS), name="answers"),
        asyncio.create_task(_keep_house(made, "webhooks", purge_webhooks, ANSWERS_SECONDS), name="webhooks"),
        asyncio.create_task(_keep_house(made, "audit", Sealer(made.vault).seal, SEALS_SECONDS), name="audit"),
        asyncio.create_task(_keep_house(made, "runs", reconciliation.purge, RUNS_SECONDS), name="runs"),
        asyncio.create_task(relay.run(), name="outbox relay"),
        asyncio.create_task(made.engine.sweep_forever(), name="saga sweeper"),
    ]
    if made.settings.stellar.monitor_enabled:
        lease = Lease(made.database, "deposits", holder)
        tasks.append(asyncio.create_task(lease.hold(watch), name="deposit watcher"))
    if schedules if schedules is not None else made.settings.environment != "test":
        wanted = Schedules(queues, reconciliation.QUEUE, made.reconciliation.schedules())
        tasks.append(asyncio.create_task(wanted.keep(), name="schedules"))
    workers.start()
    log.info("background_started", holder=holder)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await made.engine.stop()
        await workers.close(CLOSE_SECONDS)
        await queues.close()
        log.info("background_stopped", holder=holder)
