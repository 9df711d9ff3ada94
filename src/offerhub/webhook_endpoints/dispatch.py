"""From events to deliveries: one dispatcher, wherever its lease is, follows the log of events.

A turn is one transaction: the next events, a delivery for each endpoint that wants one, the cursor behind them, and
a job for each endpoint that has something to be sent now. A crash repeats the turn or does not; nothing is left out,
and `UNIQUE (endpoint, event)` lets nothing be queued twice.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import structlog

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.events import service as events
from offerhub.events import store as log_of_events
from offerhub.events.journal import Job, record
from offerhub.events.model import Logged, cut
from offerhub.kernel.clock import Clock
from offerhub.runtime.actor import system
from offerhub.runtime.cancellation import heed_cancellation
from offerhub.runtime.database import UNREACHABLE, Database, Tx
from offerhub.runtime.jobs import Priority
from offerhub.runtime.leases import LeaseToken
from offerhub.webhook_endpoints import lines, store
from offerhub.webhook_endpoints.filtering import is_sent_to, wanted_by

QUEUE: Final = "webhook-deliveries"
JOB: Final = "send"
LEASE: Final = "webhook-dispatcher"
CURSOR: Final = "webhook-deliveries"
BATCH_EVENTS: Final = 500
BATCH_ENDPOINTS: Final = 100
INTERVAL_SECONDS: Final = 0.25
"""Between two turns: what happens meanwhile is one turn's."""
IDLE_SECONDS: Final = 0.75
"""How much longer the next turn waits for somebody to ring: so late may a delivery's next attempt begin."""
DELAYED_SECONDS: Final = 1.0
JOB_SECONDS: Final = 600.0
"""A job is on its way until it begins, but no longer than this: one that ended as a dead letter is replaced."""

Moment = Callable[[Tx], Awaitable[datetime]]
"""What time it is: the database's time, unless a test has another."""

log = structlog.get_logger("offerhub.webhook_endpoints")


class Dispatcher:
    """Queues deliveries. Any number may be made; the lease lets one of them work."""

    def __init__(self, database: Database, clock: Clock, moment: Moment = lines.moment) -> None:
        self._database = database
        self._clock = clock
        self._moment = moment
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """Events were committed. Call it on the dispatcher's loop."""
        self._bell.set()

    async def run(self, token: LeaseToken) -> None:
        """Dispatch until cancelled; an outage of the database only delays."""
        while True:
            self._bell.clear()
            more = False
            try:
                await events.settle(self._database)
                more = await self._database.run(lambda tx: self._fenced(tx, token))
            except UNREACHABLE as error:
                log.warning("webhook_dispatch_delayed", error=repr(error))
                await self._clock.sleep(DELAYED_SECONDS)
            heed_cancellation()
            if not more:
                await self._clock.sleep(INTERVAL_SECONDS)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._bell.wait()

    async def _fenced(self, tx: Tx, token: LeaseToken) -> bool:
        await token.fence(tx)
        return await self.turn(tx)

    async def turn(self, tx: Tx) -> bool:
        """Queue the next events and wake whoever sends; True when there may be more at once."""
        place = await tx.value("SELECT position FROM cursors WHERE name = $1 FOR UPDATE", CURSOR)
        found = await log_of_events.after(tx, int(place), BATCH_EVENTS)
        now = await self._moment(tx)
        if found:
            await self._queue(tx, found, now)
            await tx.execute(
                "UPDATE cursors SET position = $2, updated_at = clock_timestamp() WHERE name = $1",
                CURSOR,
                str(found[-1].place),
            )
        work = await lines.with_work(tx, now, JOB_SECONDS, BATCH_ENDPOINTS)
        if work:
            jobs = [Job(QUEUE, JOB, {"endpointId": endpoint_id}, priority=Priority.LATER) for endpoint_id in work]
            await record(tx, system(DEFAULT_MARKETPLACE_ID, "webhooks"), jobs=jobs)
        return len(found) == BATCH_EVENTS

    async def _queue(self, tx: Tx, found: Sequence[Logged], now: datetime) -> None:
        taking = await store.taking(tx, sorted({event.marketplace_id for event in found}))
        # What was before an endpoint was made, or enabled again, comes only when it is asked for.
        wanted = [
            wanted_by(endpoint, event)
            for event in found
            for endpoint in taking
            if event.at >= cut(endpoint.enabled_at) and is_sent_to(endpoint, event)
        ]
        if not wanted:
            return
        locked = await store.lock_all(tx, sorted({one.endpoint_id for one in wanted}))
        still = [one for one in wanted if locked[one.endpoint_id].status == "ENABLED"]
        await lines.add(tx, still, now)
