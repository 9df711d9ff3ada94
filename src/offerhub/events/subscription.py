"""One stream of server-sent events (contract 2.12): what happened since its cursor, then what happens.

A frame is `id: <occurredAt>`, `event: <eventType>`, `data: <the event as JSON, on one line>` and a blank line. A
stream whose client does not keep up is ended, not fed without bounds: the client goes on from the last id it saw.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from offerhub.events import store
from offerhub.events.model import Logged, Wanted
from offerhub.kernel.chance import jitter
from offerhub.kernel.clock import to_wire
from offerhub.runtime.database import Tx
from offerhub.runtime.routes import Ending

if TYPE_CHECKING:
    from offerhub.events.feed import Feed

RETRY_SECONDS: Final = 2
"""After which a client whose stream has ended comes back, give or take a half."""
REPLAY_EVENTS: Final = 250
SENT_BYTES_MAX: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How often the log is looked at without a ring, how often a stream shows that it lives, and how far behind a
    client may be: in events that wait for it in this process, beside what is on its way."""

    poll_seconds: float
    heartbeat_seconds: float
    buffered_events: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames that are sent at once, how many events they are, and the cursor behind them; None leaves it."""

    data: bytes
    events: int = 0
    cursor: datetime | None = None


class Frames:
    """An event as the frames that streams ask for, each made once."""

    __slots__ = ("_data", "event")

    def __init__(self, event: Logged) -> None:
        self.event = event
        self._data: bytes | None = None

    def of(self, *, named: bool) -> bytes:
        """The frame, with or without its line `event:`."""
        if self._data is None:
            self._data = b"data: " + self.event.json() + b"\n\n"
        head = f"id: {to_wire(self.event.at)}\n" + (f"event: {self.event.type}\n" if named else "")
        return head.encode() + self._data


@dataclass(frozen=True, slots=True)
class Form:
    """Which events a stream wants, and how. Streams of one form are sent the same bytes."""

    wanted: Wanted
    named: bool = True

    def chunk(self, frames: Sequence[Frames]) -> Chunk | None:
        """The frames of what is wanted of these events; None when nothing is."""
        chosen = [one for one in frames if self.wanted.matches(one.event)]
        if not chosen:
            return None
        return Chunk(b"".join(one.of(named=self.named) for one in chosen), len(chosen), chosen[-1].event.at)


def ping(now: datetime) -> Chunk:
    """The sign that the stream lives."""
    return Chunk(_frame("ping", {"ping": True, "timestamp": to_wire(now)}))


def _frame(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


class Subscription:
    """One stream of what is behind a cursor."""

    __slots__ = ("_buffered", "_cursor", "_ended", "_feed", "_pending", "_waiter", "form")

    def __init__(self, feed: "Feed", form: Form, cursor: datetime) -> None:
        self.form = form
        self._feed = feed
        self._cursor = cursor
        """Behind what has been given to the connection."""
        self._pending: deque[Chunk] = deque()
        self._buffered = 0
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        """True when nothing but the farewell is sent any more."""
        return self._ended

    def offer(self, chunk: Chunk) -> bool:
        """Something to send next. False when the client is too far behind: then the stream is ended."""
        if self._ended:
            return True
        if self._buffered + chunk.events > self._feed.limits.buffered_events:
            self.end("slow")
            return False
        self._pending.append(chunk)
        self._buffered += chunk.events
        self._wake()
        return True

    def end(self, why: Ending) -> None:
        """Send nothing more but why, when to come back and from where."""
        if self._ended:
            return
        self._ended = True
        self._feed.leave(self)
        self._pending.clear()
        told = {"reason": why, "cursor": to_wire(self._cursor)}
        retry = f"retry: {int(jitter(RETRY_SECONDS) * 1000)}\n".encode()
        self._pending.append(Chunk(retry + _frame("end", told)))
        self._wake()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """What to send, until the stream is ended. Raises what the database raises while it reads the past."""
        yield f"\nretry: {RETRY_SECONDS * 1000}\n\n".encode()
        try:
            async for chunk in self._past():
                yield chunk
            while True:
                data = self._take()
                if data:
                    yield data
                elif self._ended:
                    return
                else:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        finally:
            self._ended = True
            self._feed.leave(self)

    def _take(self) -> bytes:
        """What waits to be sent, up to a bound."""
        if len(self._pending) == 1 or (self._pending and len(self._pending[0].data) >= SENT_BYTES_MAX):
            return self._next().data
        taken = bytearray()
        while self._pending and len(taken) < SENT_BYTES_MAX:
            taken += self._next().data
        return bytes(taken)

    def _next(self) -> Chunk:
        chunk = self._pending.popleft()
        self._buffered -= chunk.events
        self._cursor = chunk.cursor or self._cursor
        return chunk

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _past(self) -> AsyncIterator[bytes]:
        """Join the feed, after what has happened since the cursor; what happens meanwhile waits its turn."""
        # Up to where the feed is now, however long that takes; only what is left is read while live events wait.
        more = True
        while more and not self._ended:
            data, more = await self._read(await self._feed.head())
            if data:
                yield data
        place = await self._feed.join(self)
        more = True
        while more and not self._ended:
            data, more = await self._read(place)
            if data:
                yield data

    async def _read(self, up_to: int) -> tuple[bytes, bool]:
        cursor = self._cursor

        async def read(tx: Tx) -> tuple[list[Logged], datetime, bool]:
            return await store.matching(tx, self.form.wanted, cursor, up_to, REPLAY_EVENTS)

        async with self._feed.replays:
            events, self._cursor, more = await self._feed.database.run(read, read_only=True)
        chunk = self.form.chunk([Frames(event) for event in events])
        return (b"" if chunk is None else chunk.data), more
