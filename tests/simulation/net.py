"""The network: calls to the outside, from the outside, and what becomes of them on the way.

A call may be delayed, stalled, lost before its effect or after it, and arrive a second time later; whoever called
sees a refused connection, a broken one, or silence until its own time is up. What serves a call goes on when whoever
called is dead, and the other way round.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import quote_plus, unquote, urlsplit

from starlette.types import ASGIApp, Message

from offerhub.runtime.http import RESPONSE_BYTES_MAX, TIMEOUT_SECONDS_DEFAULT, HttpClient, Method, NoAnswer, NotSent
from offerhub.runtime.http import Response as Answer
from simulation.chance import DELAY_SECONDS_MAX, STALL_SECONDS_MAX, Chance
from simulation.loop import Host, SimulatedLoop
from simulation.trace import Trace

REPLAY_SECONDS_MAX: Final = 8.0
Loss = Literal["", "refused", "before", "after"]
Sign = Literal["break", "silence", "page"]
"""How a loss shows: a connection that breaks, nothing at all, or a proxy's page in place of the answer."""
PAGE: Final = Answer(502, {"content-type": "text/html"}, b"<html><body><h1>Bad gateway</h1></body></html>")


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(eq=False)
class Server:
    """Whoever answers under a name. `host` None is the world, which does not die."""

    name: str
    app: ASGIApp
    host: Host | None = None
    waiting: dict["asyncio.Future[Answer]", None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one call."""

    there: float = 0.0
    back: float = 0.0
    lost: Loss = ""
    sign: Sign = "break"
    again_after: float | None = None

    @property
    def told(self) -> str:
        """For the trace."""
        again = "" if self.again_after is None else f" again {self.again_after:.3f}"
        return f"{self.there:.3f}/{self.back:.3f} {self.lost} {self.sign}{again}"


class Net:
    """Carries calls."""

    def __init__(self, loop: SimulatedLoop, chance: Chance, trace: Trace) -> None:
        self._loop = loop
        self._chance = chance
        self._trace = trace
        self.is_calm = True

    def _fate(self, call: Call) -> Fate:
        drawn, rates = self._chance.faults, self._chance.rates
        if self.is_calm:
            return Fate(drawn.uniform(0, 0.01), drawn.uniform(0, 0.01))
        there, back = (self._delay(drawn) for _ in range(2))
        lost: Loss = ""
        if drawn.random() < rates.lost:
            lost = drawn.choice(("refused", "before", "after", "after"))
        again = None
        if drawn.random() < rates.replayed and call.method != "GET" and lost not in ("refused", "before"):
            again = drawn.uniform(0, REPLAY_SECONDS_MAX)
        return Fate(there, back, lost, drawn.choice(("break", "silence", "silence", "page")), again)

    def _delay(self, drawn: random.Random) -> float:
        if drawn.random() < self._chance.rates.stalled:
            self._trace.count("calls stalled")
            return drawn.uniform(0, STALL_SECONDS_MAX)
        return drawn.uniform(0, DELAY_SECONDS_MAX)

    async def exchange(self, who: str, server: Server, call: Call, timeout_seconds: float) -> Answer:
        """Make a call. Raises NotSent or NoAnswer, as the product's HTTP client does."""
        fate = self._fate(call)
        name = f"{who} -> {server.name} {call.method} {urlsplit(call.url).path}"
        self._trace.add(self._loop.time(), name, "call", f"{fate.told} {call.body!r}")
        self._trace.count("calls")
        if fate.lost:
            self._trace.count(f"calls lost ({fate.lost})")
        if fate.lost == "refused":
            await asyncio.sleep(fate.there)
            raise NotSent(f"{call.url}: refused")
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._loop.spawn(self._carry(server, call, fate, answer), None)
        if fate.again_after is not None:
            self._trace.count("calls replayed")
            again = Fate(fate.again_after, 0.0, "after", "silence")
            self._loop.spawn(self._carry(server, call, again, None), None)
        try:
            async with asyncio.timeout(timeout_seconds):
                found = await answer
        except TimeoutError:
            self._trace.add(self._loop.time(), name, "silence")
            raise NoAnswer(f"{call.url}: no answer in time") from None
        self._trace.add(self._loop.time(), name, "answer", f"{found.status} {found.body!r}")
        return found

    async def _carry(self, server: Server, call: Call, fate: Fate, answer: "asyncio.Future[Answer] | None") -> None:
        """The way there, the work, the way back; belongs to nobody, and dies with nobody."""
        await asyncio.sleep(fate.there)
        if fate.lost == "before":
            self._break(answer, fate, "lost on the way")
            return
        host = server.host
        if host is not None and not host.alive:
            self._break(answer, Fate(), "nobody is there")
            return
        done: asyncio.Future[Answer] = self._loop.create_future()
        server.waiting[done] = None
        self._loop.spawn(_serve(server.app, call, done), host)
        try:
            found = await done
        except ConnectionError:
            self._break(answer, fate, "whoever answered is gone")
            return
        finally:
            server.waiting.pop(done, None)
        await asyncio.sleep(fate.back)
        if fate.lost == "after":
            self._break(answer, fate, "lost on the way back")
        elif answer is not None and not answer.done():
            answer.set_result(found)

    def _break(self, answer: "asyncio.Future[Answer] | None", fate: Fate, words: str) -> None:
        if answer is None or answer.done() or fate.sign == "silence":
            return
        if fate.sign == "page":
            answer.set_result(PAGE)
        else:
            answer.set_exception(NoAnswer(words))

    def hang_up(self, server: Server) -> None:
        """The process that answered is dead."""
        for waiting in list(server.waiting):
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("dead"))


async def _serve(app: ASGIApp, call: Call, done: "asyncio.Future[Answer]") -> None:
    try:
        found = await ask(app, call)
    except Exception as error:  # noqa: BLE001 - a server that fails breaks the connection
        if not done.done():
            done.set_exception(ConnectionResetError(repr(error)))
        return
    if not done.done():
        done.set_result(found)


async def ask(app: ASGIApp, call: Call) -> Answer:
    """Speak ASGI to an application, as a server would."""
    parts = urlsplit(call.url)
    headers = [("host", parts.netloc), *call.headers]
    if call.body:
        headers.append(("content-length", str(len(call.body))))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": parts.scheme,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "root_path": "",
        "query_string": parts.query.encode(),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("192.0.2.1", 50000),
        "server": (parts.hostname, 80),
    }
    told = False
    messages: list[Message] = []

    async def receive() -> Message:
        nonlocal told
        if told:
            await asyncio.get_running_loop().create_future()  # the connection stays
        told = True
        return {"type": "http.request", "body": call.body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    start, *rest = messages
    found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start.get("headers", [])}
    return Answer(start["status"], found, b"".join(part.get("body", b"") for part in rest))


class SimulatedHttp(HttpClient):
    """The product's HTTP client on this network, for one process."""

    def __init__(self, net: Net, who: str, servers: Mapping[str, Server]) -> None:
        super().__init__()
        self._net = net
        self._who = who
        self._servers = servers

    async def call(
        self,
        method: Method,
        url: str,
        *,
        name: str,
        timeout_seconds: float = TIMEOUT_SECONDS_DEFAULT,
        headers: Mapping[str, str] | None = None,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        response_bytes_max: int = RESPONSE_BYTES_MAX,
        cut: bool = False,
    ) -> Answer:
        """As `HttpClient.call`."""
        if query:
            pairs = "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in query)
            url = f"{url}{'&' if '?' in url else '?'}{pairs}"
        server = self._servers[urlsplit(url).hostname or ""]
        call = Call(method, url, tuple((headers or {}).items()), body or b"")
        found = await self._net.exchange(self._who, server, call, timeout_seconds)
        if len(found.body) > response_bytes_max:
            if not cut:
                raise NoAnswer(f"{name}: more than {response_bytes_max} bytes")
            return Answer(found.status, found.headers, found.body[:response_bytes_max], is_cut=True)
        return found


Post = Callable[[str, bytes, dict[str, str]], Awaitable[int]]


def poster(net: Net, who: str, choose: Callable[[], Server | None], timeout_seconds: float) -> Post:
    """What a sender of webhooks calls: whichever process answers now. Raises TimeoutError or OSError."""

    async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
        server = choose()
        if server is None:
            raise ConnectionRefusedError(url)
        call: Any = Call("POST", url, tuple(headers.items()), body)
        try:
            return (await net.exchange(who, server, call, timeout_seconds)).status
        except NotSent as error:
            raise ConnectionRefusedError(str(error)) from error
        except NoAnswer as error:
            raise TimeoutError(str(error)) from error

    return post
