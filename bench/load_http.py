"""The HTTP load generator: a process of its own, closed loop, HTTP/1.1 written by hand on raw sockets.

A general client would take its share of the two cores that it measures. Here a call costs about 10 µs of CPU: the
request is one formatted byte string, and of the answer only the status, the length and, where a flow needs it, the
body are looked at. Task on standard input (see `Task`), measurement as JSON on standard output.
"""

import asyncio
import functools
import hmac
import itertools
import json
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from samples import Measured, Recorder, read_task

Script = Generator[bytes, bytes | None, None]
"""Yields requests; is sent the body of each answer, or None for one that was not 2xx."""

PATIENCE_SECONDS: Final = 30.0
SKEW: Final = 0.7
"""The share of the traffic that one account takes where it is skewed."""
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


@dataclass(frozen=True, slots=True)
class Task:
    """What to send where."""

    flow: str
    host: str
    port: int
    connections: int
    warm_up_seconds: float
    seconds: float
    credential: str
    users: Sequence[str]
    secret: str = ""
    """What signs webhooks."""
    order: str = ""
    """What they are about."""
    per_second: float = 0.0
    """How many calls to begin in a second, however long their answers take; 0 sends each after the answer before."""


class Requests:
    """Writes requests. Every POST has an Idempotency-Key that was never used before."""

    def __init__(self, task: Task) -> None:
        self.users = task.users
        self.order = task.order
        self._secret = task.secret.encode()
        self._host = task.host
        common = f"host: {task.host}\r\nauthorization: Bearer {task.credential}\r\n"
        self._get = f" HTTP/1.1\r\n{common}\r\n"
        self._post = f" HTTP/1.1\r\n{common}content-type: application/json\r\n"
        self._run = secrets.token_hex(8)
        self._numbers = itertools.count()

    def unique(self) -> str:
        """A name that no other request uses."""
        return f"{self._run}-{next(self._numbers)}"

    def get(self, path: str) -> bytes:
        """A GET request."""
        return f"GET /api/v1{path}{self._get}".encode("ascii")

    def post(self, path: str, body: str) -> bytes:
        """A POST request with a JSON body."""
        head = (
            f"POST /api/v1{path}{self._post}idempotency-key: {self.unique()}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode("ascii")

    def webhook(self, body: str) -> bytes:
        """A webhook of Trustless Work, signed."""
        signature = hmac.digest(self._secret, body.encode("ascii"), "sha256").hex()
        head = (
            f"POST /api/v1/webhooks/trustless-work HTTP/1.1\r\nhost: {self._host}\r\nx-tw-signature: {signature}\r\n"
        )
        return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode("ascii")


def _health(requests: Requests) -> Script:
    request = requests.get("/health")
    while True:
        yield request


def _balance_read(requests: Requests) -> Script:
    while True:
        yield requests.get(f"/users/{random.choice(requests.users)}/balance")


def _credit(requests: Requests, user_id: str) -> bytes:
    return requests.post(f"/users/{user_id}/balance/credit", '{"amount":"1.00","currency":"USD","reference":"bench"}')


def _credit_spread(requests: Requests) -> Script:
    while True:
        yield _credit(requests, random.choice(requests.users))


def _credit_hot(requests: Requests) -> Script:
    while True:
        yield _credit(requests, requests.users[0])


def _credit_skewed(requests: Requests) -> Script:
    while True:
        yield _credit(requests, requests.users[0] if random.random() < SKEW else random.choice(requests.users))


def _users_list(requests: Requests) -> Script:
    request = requests.get("/users?limit=20")
    while True:
        yield request


def _webhook_intake(requests: Requests) -> Script:
    while True:
        news = {"type": "escrow.funded", "event_id": requests.unique(), "data": {"order_id": requests.order}}
        yield requests.webhook(json.dumps(news))


def _order_and_reserve(requests: Requests) -> Script:
    while True:
        buyer, seller = random.sample(requests.users, 2)
        order = {"buyer_id": buyer, "seller_id": seller, "amount": "1.00", "currency": "USD", "title": "bench"}
        body = yield requests.post("/orders", json.dumps(order))
        if body is not None:
            yield requests.post(f"/orders/{json.loads(body)['data']['id']}/reserve", "{}")


def _user_create(requests: Requests) -> Script:
    while True:
        yield requests.post("/users", f'{{"externalUserId":"{requests.unique()}","type":"BOTH"}}')


SCRIPTS: Final[dict[str, Callable[[Requests], Script]]] = {
    "health": _health,
    "balance_read": _balance_read,
    "credit_spread": _credit_spread,
    "credit_hot": _credit_hot,
    "credit_skewed": _credit_skewed,
    "users_list": _users_list,
    "webhook_intake": _webhook_intake,
    "order_reserve": _order_and_reserve,
    "user_create": _user_create,
}


def generate(module: Path, task: Mapping[str, Any]) -> Measured:
    """Run a load generator beside this process. Raises RuntimeError when it fails, or no call succeeds."""
    done = subprocess.run(
        [sys.executable, str(module)],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        timeout=task["seconds"] + PATIENCE_SECONDS,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module.name} failed:\n{done.stderr[-3000:]}")
    measured = Measured.from_json(done.stdout)
    if not measured.calls:
        raise RuntimeError(f"no call of {task['flow']} succeeded: {measured.faults}")
    return measured


class Client(asyncio.Protocol):
    """One connection with one call open at a time."""

    def __init__(
        self, script: Script, recorder: Recorder, done: "asyncio.Future[None]", due: float = 0.0, every: float = 0.0
    ) -> None:
        self._script = script
        self._recorder = recorder
        self.done = done
        self._received = b""
        self._started = 0.0
        self._due = due
        self._every = every

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._next(next(self._script))

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer; once it is whole, send the next request."""
        received = self._received + data if self._received else data
        head = received.find(_END_OF_HEAD)
        if head < 0:
            self._received = received
            return
        at = received.index(_LENGTH) + len(_LENGTH)
        begin = head + len(_END_OF_HEAD)
        end = begin + int(received[at : received.index(b"\r", at)])
        if len(received) < end:
            self._received = received
            return
        self._received = b""
        status = received[9:12]
        good = status[:1] == b"2"
        if self._recorder.note(self._started, None if good else status.decode("ascii")):
            self._next(self._script.send(received[begin:end] if good else None))
        else:
            self.done.set_result(None)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end; an error when it comes before the measurement's."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed a connection"))

    def _next(self, request: bytes) -> None:
        """Send at once, or when it is due. One that is late counts from when it was due."""
        now = time.perf_counter()
        if not self._every:
            self._send(request, now)
            return
        due, self._due = self._due, self._due + self._every
        if due > now:
            asyncio.get_running_loop().call_later(due - now, self._send, request, due)
        else:
            self._send(request, due)

    def _send(self, request: bytes, started: float) -> None:
        self._started = started
        self._transport.write(request)


async def _main() -> None:
    task = Task(**read_task())
    loop = asyncio.get_running_loop()
    requests = Requests(task)
    recorder = Recorder(task.warm_up_seconds, task.seconds)
    ends: list[asyncio.Future[None]] = []
    every = task.connections / task.per_second if task.per_second else 0.0
    for number in range(task.connections):
        due = time.perf_counter() + every * number / task.connections
        client = Client(SCRIPTS[task.flow](requests), recorder, loop.create_future(), due, every)
        ends.append(client.done)
        await loop.create_connection(functools.partial(_same, client), task.host, task.port)
    await asyncio.gather(*ends)
    recorder.report()


def _same(client: Client) -> Client:
    return client


if __name__ == "__main__":
    uvloop.run(_main())
