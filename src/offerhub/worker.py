"""What a process does beside answering requests: hand jobs over, run them, sweep sagas, watch for deposits."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any, Final

import structlog

from offerhub import queues as catalogue
from offerhub.app import Product
from offerhub.audit.chain import Sealer
from offerhub.edge import idempotency
from offerhub.events import store as events
from offerhub.reconciliation import service as reconciliation
from offerhub.runtime import dead_letters
from offerhub.runtime.cancellation import end, heed_cancellation
from offerhub.runtime.database import UNREACHABLE, Tx
from offerhub.runtime.dead_letters import DeadLetters
from offerhub.runtime.jobs import BulkHandler, Handler
from offerhub.runtime.leases import Lease, LeaseToken
from offerhub.runtime.outbox import Relay
from offerhub.runtime.queue import Queues, Workers
from offerhub.runtime.schedules import Schedules
from offerhub.sagas import engine
from offerhub.webhook_endpoints import dispatch
from offerhub.webhook_endpoints import jobs as webhooks_out
from offerhub.webhooks import service as inbox
from offerhub.webhooks.jobs import Processing
from offerhub.webhooks.jobs import purge as purge_webhooks

WALLETS_SECONDS: Final = 30.0
"""How often wallets are looked for whose set-up was refused."""
ANSWERS_SECONDS: Final = 600.0
"""How often idempotent answers and webhooks are looked for whose time is over."""
SEALS_SECONDS: Final = 2.0
"""How often audit entries are looked for that are not sealed yet."""
STOPPED_SECONDS: Final = 5.0
"""How often deliveries are looked for that wait for an endpoint which takes nothing any more."""
PLACES_SECONDS: Final = 1.0
"""How often events get their place in the log while nobody reads it; readers see to it themselves."""
RUNS_SECONDS: Final = 3600.0
"""How often runs and failures of jobs are looked for that ended long ago."""

log = structlog.get_logger("offerhub.worker")


class Stopping:
    """The one deadline of a process that stops: it begins when somebody says so, and is shared by all that end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at: float | None = None

    def begin(self) -> None:
        """Start the clock; saying it again changes nothing."""
        if self._ends_at is None:
            self._ends_at = asyncio.get_running_loop().time() + self._seconds

    @property
    def seconds_left(self) -> float:
        """How long what still runs may take; never negative."""
        if self._ends_at is None:
            return self._seconds
        return max(0.0, self._ends_at - asyncio.get_running_loop().time())


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


def handlers(made: Product) -> dict[tuple[str, str], Handler]:
    """What runs each job, by its queue and name."""

    async def drive(payload: Mapping[str, Any]) -> None:
        await made.engine.drive(payload["sagaId"])

    return {
        (engine.QUEUE, engine.JOB): drive,
        (inbox.QUEUE, inbox.JOB): _processing(made).process,
        (dispatch.QUEUE, dispatch.JOB): made.webhooks_out.sender.send,
        **made.reconciliation.handlers(),
    }


def bulk_handlers(made: Product) -> dict[tuple[str, str], BulkHandler]:
    """What has the first go at jobs that come in floods, by their queue and name; nothing where their pace is set."""
    paced = catalogue.limits(made.settings)
    return {} if inbox.QUEUE in paced else {(inbox.QUEUE, inbox.JOB): _processing(made).process_in_bulk}


def _processing(made: Product) -> Processing:
    return Processing(made.database, made.engine, made.airtm, catalogue.concurrency(made.settings)[inbox.QUEUE])


def tasks_beside(
    made: Product, queues: Queues, taken: Collection[str], holder: str, *, schedules: bool
) -> dict[str, Coroutine[Any, Any, None]]:
    """What goes on beside the jobs. Each belongs to a queue, and goes on where that queue's jobs are taken."""

    async def watch(_: LeaseToken) -> None:
        await made.deposits.watch()

    tasks: dict[str, Coroutine[Any, Any, None]] = {
        "answers": _keep_house(made, "answers", idempotency.purge, ANSWERS_SECONDS),
        "events": _keep_house(made, "events", events.sequence, PLACES_SECONDS),
        "audit": _keep_house(made, "audit", Sealer(made.vault).seal, SEALS_SECONDS),
        "failures": _keep_house(made, "failures", dead_letters.purge, RUNS_SECONDS),
    }
    if engine.QUEUE in taken:
        tasks["saga sweeper"] = made.engine.sweep_forever()
        tasks["wallets"] = _keep_house(made, "wallets", made.wallets.begin_again, WALLETS_SECONDS)
        if made.settings.stellar.monitor_enabled:
            tasks["deposit watcher"] = Lease(made.database, "deposits", holder).hold(watch)
    if inbox.QUEUE in taken:
        tasks["webhooks"] = _keep_house(made, "webhooks", purge_webhooks, ANSWERS_SECONDS)
    if dispatch.QUEUE in taken:
        purge = webhooks_out.purging(made.settings.webhooks_out.retention_days)
        tasks["webhook dispatcher"] = Lease(made.database, dispatch.LEASE, holder).hold(
            made.webhooks_out.dispatcher.run
        )
        tasks["deliveries"] = _keep_house(made, "deliveries", purge, ANSWERS_SECONDS)
        tasks["stopped deliveries"] = _keep_house(
            made, "stopped deliveries", webhooks_out.cancel_stopped, STOPPED_SECONDS
        )
    if reconciliation.QUEUE in taken:
        tasks["runs"] = _keep_house(made, "runs", reconciliation.purge, RUNS_SECONDS)
        if schedules:
            tasks["schedules"] = Schedules(queues, reconciliation.QUEUE, made.reconciliation.schedules()).keep()
    return tasks


@contextlib.asynccontextmanager
async def background(
    made: Product,
    *,
    schedules: bool | None = None,
    taken: Collection[str] = catalogue.NAMES,
    stopping: Stopping | None = None,
) -> AsyncIterator[Workers]:
    """Run the background work of a process while the block runs; stop it cleanly in the end.

    `schedules` tells whether this process looks after what runs by the clock. None: unless NODE_ENV is `test`.
    `taken` names the queues whose jobs it takes; it hands over those of all. Whoever stops the process may pause the
    workers that are yielded before the block ends.
    """
    settings = made.settings
    redis_url = settings.storage.redis_url.reveal()
    holder = f"{socket.gethostname()}:{os.getpid()}"
    queues = Queues(redis_url)
    bulk = {kind: handler for kind, handler in bulk_handlers(made).items() if kind[0] in taken}
    relay = Relay(made.database, queues, bulk=bulk)
    letters = DeadLetters(made.database, queues, catalogue.NAMES, holder)
    workers = Workers(
        redis_url,
        {key: handler for key, handler in handlers(made).items() if key[0] in taken},
        catalogue.concurrency(settings),
        finish=relay.finish,
        fail=letters.keep,
        limits=catalogue.limits(settings),
        name=holder,
    )
    scheduled = schedules if schedules is not None else settings.environment != "test"
    wanted = tasks_beside(made, queues, taken, holder, schedules=scheduled)
    wanted |= {"outbox relay": relay.run(), "dead letters": letters.watch()}
    tasks = [asyncio.create_task(work, name=name) for name, work in wanted.items()]
    workers.start()
    deadline = stopping or Stopping(settings.jobs.shutdown_seconds)
    log.info("background_started", holder=holder, queues=sorted(taken))
    try:
        with (
            made.doorbell.heard("jobs", relay.ring),
            made.doorbell.heard("events", made.webhooks_out.dispatcher.ring),
        ):
            yield workers
    finally:
        deadline.begin()
        await workers.pause()
        await end(*tasks)
        await made.engine.stop()
        await workers.close(deadline.seconds_left)
        await queues.close()
        log.info("background_stopped", holder=holder)
