"""The server's HTTP protocol: Uvicorn's, with what it leaves to a proxy that may not be there.

Uvicorn waits for a request's head for ever, however long it grows; goes on reading a body that nobody wants; keeps
what a client does not read; and answers what is no HTTP in plain text. Here each of them ends: in time, in size, and
in JSON. The application may also cut a connection, for which ASGI has no way.
"""

import asyncio
import resource
from asyncio.events import TimerHandle
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal
from urllib.parse import unquote

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from offerhub.edge.answers import COMMON_HEADERS, failure
from offerhub.edge.exchange import Exchange
from offerhub.edge.request import ARRIVED
from offerhub.edge.streams import ABORT
from offerhub.errors import ValidationFailed
from offerhub.kernel.ids import new_uuid

SPOKEN: Final = ("1.1", "1.0")
HEAD_BYTES_MAX: Final = 32 * 1024
REST_SECONDS_MAX: Final = 5.0
"""How long a client may go on sending a body whose answer is given, so that it comes to read the answer."""
UNREAD_SECONDS_MAX: Final = 60.0
"""How long a client may leave unread what was sent to it."""
OTHER_FILES: Final = 256
"""What a process opens beside its clients' connections, such as those to PostgreSQL."""

Waiting = Literal["", "first", "head", "rest", "idle"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost: seconds until the head of a request is there, and how many connections."""

    head_seconds: float = 15.0
    connections_max: int = 2**31


class _RefusedError(Exception):
    """Raised inside the parser, which then refuses the request."""


class Protocol(HttpToolsProtocol):
    """One connection. A request's scope tells the application how to cut it, and whether its body has arrived."""

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._refused = False
        self._waiting: Waiting = ""
        self._due = 0.0
        self._timer: TimerHandle | None = None
        self._rings_at = 0.0
        self._unread: TimerHandle | None = None

    # -- what the transport tells --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        if len(self.connections) >= self.limits.connections_max:
            log.warning("too_many_connections", connections=len(self.connections))
            self.transport = transport
            transport.abort()
            return
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come; behind what is no HTTP they are dropped."""
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("")
                return
        super().data_received(data)
        if not self._refused:
            self._watch()

    def pause_writing(self) -> None:
        """The client does not keep up."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS_MAX, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    # -- what the parser tells -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes behind the body is none (RFC 9110, 6.5.1), whatever it calls itself."""
        if not self._in_head:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there. Raises in the parser when it is too large, or of a version that we do not speak."""
        version = self.parser.get_http_version()
        self._head_bytes = len(self.url) + sum([len(name) + len(value) for name, value in self.headers])
        if self._head_bytes > HEAD_BYTES_MAX or version not in SPOKEN:
            raise _RefusedError
        self._in_head, self._in_body = False, True
        before = self.cycle
        # We speak nothing that a connection could be upgraded to. The parser reads no further request of this one.
        keep_alive = version == "1.1" and self.parser.should_keep_alive() and not self.parser.should_upgrade()
        self.cycle = exchange = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        self._describe(exchange, version)
        if before is None or before.response_complete:
            self._start_asgi_task(exchange, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def _describe(self, exchange: Exchange, version: str) -> None:
        """Tell the application of the request."""
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        more: dict[str, Any] = {
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "extensions": {ABORT: {"cut": self.transport.abort}, ARRIVED: {"whole": exchange.arrived}},
        }
        self.scope.update(more)  # type: ignore[typeddict-item]

    def on_message_complete(self) -> None:
        """The whole request is there."""
        self._in_body = False
        super().on_message_complete()

    # -- what the server does ------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """A request is answered: begin with the next one that is there already, or wait for it."""
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                exchange, app = self.pipeline.pop()
                self._start_asgi_task(exchange, app)
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, and close. A request before it that is whole is answered first."""
        self._refused = True
        self._watch()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not self._in_body:
            cycle.keep_alive = False
            return
        large = self._head_bytes > HEAD_BYTES_MAX
        why = f"The request's head is larger than {HEAD_BYTES_MAX} bytes." if large else "This is not valid HTTP."
        request_id = new_uuid()
        reply = failure(ValidationFailed(why), request_id)
        own = [(b"content-length", b"%d" % len(reply.body)), (b"connection", b"close")]
        headers = [*COMMON_HEADERS, *own, (b"x-request-id", request_id.encode("ascii"))]
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[reply.status] + head + b"\r\n" + reply.body)
        self.transport.close()

    def _watch(self) -> None:
        """Wait for what the client owes us now, and no longer than that may take."""
        waiting = self._owed()
        if waiting == self._waiting:
            return
        self._waiting = waiting
        if waiting:
            head = self.limits.head_seconds
            seconds = {"first": head, "head": head, "rest": REST_SECONDS_MAX, "idle": float(self.timeout_keep_alive)}
            self._due = self.loop.time() + seconds[waiting]
            if self._timer is None or self._rings_at > self._due:
                self._ring_at(self._due)

    def _ring_at(self, moment: float) -> None:
        """Look again then. A timer that rings too early costs less than one for each request."""
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = moment
        self._timer = self.loop.call_at(moment, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        if self.loop.time() < self._due:
            self._ring_at(self._due)
        else:
            self._give_up()

    def _owed(self) -> Waiting:
        """Nothing while a request is being answered: how long its body may take the application knows."""
        if self._refused or self.transport.is_closing():
            return ""
        if self.cycle is not None and not self.cycle.response_complete:
            return ""
        if self._in_body:
            return "rest"
        if self._in_head:
            return "head"
        return "first" if self.cycle is None else "idle"

    def _give_up(self) -> None:
        log.debug("connection_given_up", waited_for=self._waiting)
        # What it has not read by now would keep a connection that is only closed.
        end = self.transport.abort if self.transport.get_write_buffer_size() else self.transport.close
        end()


def limited(limits: Limits) -> type[Protocol]:
    """The protocol with other limits than usual."""
    return type("Protocol", (Protocol,), {"limits": limits})


def protocol(head_seconds: float) -> type[Protocol]:
    """The protocol of a server's connections, which all together leave the process files to open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limited(Limits(head_seconds, max(files - OTHER_FILES, OTHER_FILES)))
