"""Open streams of server-sent events: how many there may be, how they end, and that none outlives its key.

A stream is one answer that does not end. While it lasts, a task waits for the client to leave; once a second all
credentials that have streams are looked at again; and when the service stops, every stream is told so and ends.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog
from starlette.types import Receive, Send

from offerhub.edge.answers import COMMON_HEADERS, Headers
from offerhub.edge.ports import Authenticator
from offerhub.edge.request import Request
from offerhub.errors import InvalidApiKey, MarketplaceNotFound, TooManyStreams, Unauthorized
from offerhub.kernel.clock import Clock
from offerhub.runtime.actor import Actor
from offerhub.runtime.cancellation import end, heed_cancellation
from offerhub.runtime.database import UNREACHABLE
from offerhub.runtime.routes import Stream

LOOK_SECONDS: Final = 1.0
"""How often credentials are looked at again, and ended streams whose client does not take the rest."""
FAREWELL_SECONDS: Final = 5.0
"""How long a client that is too slow may take what has been sent already, until its connection is cut."""
ABORT: Final = "offerhub.abort"
"""The extension of the server that cuts a connection."""

_HEADERS: Final[Headers] = [
    *(header for header in COMMON_HEADERS if header[0] not in (b"content-type", b"cache-control")),
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"private, no-cache, no-store, must-revalidate, max-age=0, no-transform"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
]

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class StreamReply:
    """The answer that is a stream."""

    stream: Stream
    streams: "Streams"
    actor: Actor
    credential: str
    marketplace: str | None
    receive: Receive
    head_only: bool
    abort: Callable[[], None] | None
    status: int = 200
    ended_at: float | None = field(default=None)

    async def send(self, send: Send, extra: Headers) -> None:
        """Send it until one side has enough."""
        await send({"type": "http.response.start", "status": self.status, "headers": [*_HEADERS, *extra]})
        if not self.head_only:
            # The head goes with the first piece, which may be long in coming.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            with self.streams.opened(self):
                await self._send(send)
        await send({"type": "http.response.body", "body": b""})

    async def _send(self, send: Send) -> None:
        watching = asyncio.create_task(self._watch(), name="stream")
        try:
            async with contextlib.aclosing(self.stream.chunks()) as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except UNREACHABLE as error:
            # The client comes back to where it was.
            log.warning("stream_broken", error=repr(error))
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.stream.end("gone")


class Streams:
    """All open streams of this process."""

    def __init__(self, authenticate: Authenticator, clock: Clock, per_key: int, per_process: int) -> None:
        self._authenticate = authenticate
        self._clock = clock
        self._per_key = per_key
        self._per_process = per_process
        self._open: set[StreamReply] = set()
        self._of_key: Counter[str] = Counter()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    def reply(self, stream: Stream, actor: Actor, request: Request) -> StreamReply:
        """The answer that is this stream. Raises TooManyStreams."""
        if self._of_key[actor.credential_id] >= self._per_key:
            raise TooManyStreams(limit=self._per_key, of="key")
        if len(self._open) >= self._per_process or self._stopping:
            raise TooManyStreams(limit=self._per_process, of="process")
        return StreamReply(
            stream,
            self,
            actor,
            request.credential(),
            request.headers.get("x-marketplace-id"),
            request.receive,
            request.scope["method"] == "HEAD",
            request.scope.get("extensions", {}).get(ABORT, {}).get("cut"),
        )

    @contextlib.contextmanager
    def opened(self, reply: StreamReply) -> Iterator[None]:
        """Count the stream while the block runs."""
        self._open.add(reply)
        self._of_key[reply.actor.credential_id] += 1
        if self._stopping:
            reply.stream.end("shutdown")
        try:
            yield
        finally:
            self._open.remove(reply)
            self._of_key[reply.actor.credential_id] -= 1
            if not self._of_key[reply.actor.credential_id]:
                del self._of_key[reply.actor.credential_id]

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Look after the streams while the block runs."""
        task = asyncio.create_task(self._look_after(), name="streams")
        try:
            yield
        finally:
            self.close()
            await end(task)

    def close(self) -> None:
        """The service stops: end every stream, and begin none."""
        self._stopping = True
        for reply in self._open:
            reply.stream.end("shutdown")

    async def _look_after(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            self._cut_off()
            try:
                await self._end_refused()
            except (*UNREACHABLE, TimeoutError) as error:
                log.warning("streams_not_checked", error=repr(error))
            heed_cancellation()

    def _cut_off(self) -> None:
        """Cut the connections of clients that do not take the rest of a stream that has ended."""
        now = self._clock.monotonic()
        for reply in self._open:
            if not reply.stream.ended:
                continue
            reply.ended_at = reply.ended_at or now
            if reply.abort is not None and now - reply.ended_at >= FAREWELL_SECONDS:
                reply.abort()

    async def _end_refused(self) -> None:
        """End the streams of credentials that are accepted no more."""
        for credential, marketplace in {(reply.credential, reply.marketplace) for reply in self._open}:
            try:
                await self._authenticate(credential, marketplace)
            except (InvalidApiKey, Unauthorized, MarketplaceNotFound):
                for reply in self._open:
                    if reply.credential == credential:
                        reply.stream.end("revoked")
