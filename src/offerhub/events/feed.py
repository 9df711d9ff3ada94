"""The feed: one reader of the log for each process, which hands what is new to all of the process's streams.

It reads when the doorbell rings, and by itself now and then; while nobody listens, not at all. Each event becomes
bytes once, and streams that want the same share them. A stream first reads for itself what has happened since its
cursor, and joins the feed at a place that is known to both: it gets everything behind its cursor once and in order.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from offerhub.events import store
from offerhub.events.model import Logged
from offerhub.events.subscription import Chunk, Form, Frames, Limits, Subscription, ping
from offerhub.kernel.clock import Clock
from offerhub.runtime.cancellation import end, heed_cancellation
from offerhub.runtime.database import UNREACHABLE, Database, Tx
from offerhub.runtime.doorbell import Doorbell

BATCH_EVENTS: Final = 250
GATHER_SECONDS: Final = 0.004
"""Between two readings: what is committed meanwhile goes out together."""
READ_AGAIN_SECONDS: Final = 1
REPLAYS_MAX: Final = 4
"""Streams that read for themselves at a time; the others wait, so that requests have connections left."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Counts:
    """What this process has handed to its streams since it began."""

    events_read: int = 0
    deliveries: int = 0
    slow: int = 0


class Feed:
    """Hands new events to streams while `at_work`."""

    def __init__(self, database: Database, doorbell: Doorbell, clock: Clock, limits: Limits) -> None:
        self.database = database
        self.clock = clock
        self.limits = limits
        self.counts = Counts()
        self.replays = asyncio.Semaphore(REPLAYS_MAX)
        self._doorbell = doorbell
        self._bell = asyncio.Event()
        self._forms: dict[str, dict[Form, set[Subscription]]] = {}
        """By marketplace: streams with the same form get the same bytes."""
        self._head: int | None = None
        """The last place that was handed on; None while nobody listens."""
        self._starting = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Read the log while the block runs."""
        with self._doorbell.heard("events", self._bell.set):
            tasks = [
                asyncio.create_task(self._read_on(), name="events feed"),
                asyncio.create_task(self._beat(), name="events heartbeat"),
            ]
            try:
                yield
            finally:
                await end(*tasks)

    async def head(self) -> int:
        """The place up to which the feed has handed events on, or from which it begins."""
        while self._head is None:
            async with self._starting:
                if self._head is None:
                    self._head = await self.database.run(_settled_head)
        return self._head

    async def join(self, subscription: Subscription) -> int:
        """From now on the stream is handed what is behind the place that is returned."""
        await self.head()
        # Nothing is awaited from here on: the feed cannot move between the look at its place and the joining.
        assert self._head is not None
        forms = self._forms.setdefault(subscription.form.wanted.marketplace_id, {})
        forms.setdefault(subscription.form, set()).add(subscription)
        return self._head

    def leave(self, subscription: Subscription) -> None:
        """The stream is handed nothing any more. Leaving twice does nothing."""
        forms = self._forms.get(subscription.form.wanted.marketplace_id, {})
        sharing = forms.get(subscription.form, set())
        sharing.discard(subscription)
        if not sharing:
            forms.pop(subscription.form, None)
        if not forms:
            self._forms.pop(subscription.form.wanted.marketplace_id, None)
        if not self._forms:
            self._head = None

    async def _read_on(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.limits.poll_seconds):
                    await self._bell.wait()
            self._bell.clear()
            heed_cancellation()
            try:
                if self._head is not None and await self._read(self._head):
                    self._bell.set()  # there may be more
            except (*UNREACHABLE, TimeoutError) as error:
                log.warning("events_feed_waits", error=repr(error))
                await asyncio.sleep(READ_AGAIN_SECONDS)
            await asyncio.sleep(GATHER_SECONDS)

    async def _read(self, head: int) -> bool:
        """Hand one batch on; True when there may be more."""

        async def turn(tx: Tx) -> tuple[int, list[Logged]]:
            return await store.sequence(tx), await store.after(tx, head, BATCH_EVENTS)

        placed, batch = await self.database.run(turn)
        self._hand_on(batch)
        return len(batch) == BATCH_EVENTS or placed == store.SEQUENCED_MAX

    def _hand_on(self, batch: Sequence[Logged]) -> None:
        # Meanwhile everybody may have left, and others begun behind where this batch begins.
        batch = [event for event in batch if self._head is not None and event.place > self._head]
        if not batch:
            return
        self.counts.events_read += len(batch)
        self._head = batch[-1].place
        by_marketplace: dict[str, list[Frames]] = {}
        for event in batch:
            if event.marketplace_id in self._forms:
                by_marketplace.setdefault(event.marketplace_id, []).append(Frames(event))
        for marketplace_id, frames in by_marketplace.items():
            for form, sharing in list(self._forms[marketplace_id].items()):
                chunk = form.chunk(frames)
                if chunk is not None:
                    self._offer(chunk, list(sharing))

    def _offer(self, chunk: Chunk, subscriptions: Sequence[Subscription]) -> None:
        self.counts.deliveries += chunk.events * len(subscriptions)
        for subscription in subscriptions:
            if not subscription.offer(chunk):
                self.counts.slow += 1
                log.warning("stream_too_slow", marketplace_id=subscription.form.wanted.marketplace_id)

    async def _beat(self) -> None:
        while True:
            await self.clock.sleep(self.limits.heartbeat_seconds)
            chunk = ping(self.clock.now())
            for forms in list(self._forms.values()):
                for sharing in list(forms.values()):
                    self._offer(chunk, list(sharing))


async def _settled_head(tx: Tx) -> int:
    await store.sequence(tx)
    return await store.head(tx)
