"""A marketplace's backend: asks until it has an answer, under one idempotency key, and remembers what it was told."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from offerhub.runtime.http import NoAnswer, NotSent
from simulation.chance import Chance
from simulation.net import PAGE, Call, Net, Server
from simulation.trace import Trace

TIMEOUT_SECONDS: Final = 15.0
PAUSE_SECONDS: Final = (0.2, 3.0)
ASKED_AGAIN: Final = 0.15
"""How often an answered request is sent again, to hold its answer against the first."""
TRIES_MAX: Final = 400
UNSETTLED: Final = {"IDEMPOTENCY_KEY_IN_PROGRESS", "RATE_LIMITED"}
REFUSED_BY_PROVIDER: Final = "PROVIDER_ERROR"
"""Answered with 502 and final all the same: asking again changes nothing until a person has done something."""


def _takes_no_key(path: str) -> bool:
    """Operations whose repetition is answered by the state of things (reference/idempotency.md)."""
    return path.endswith("/refresh") or (path.startswith("/topups/") and path.endswith("/cancel"))


class Broken(Exception):
    """The product has answered what it must not."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer that counts."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        """It was done."""
        return self.status < 300

    @property
    def data(self) -> Any:
        """What was asked for."""
        return self.body["data"]

    @property
    def code(self) -> str:
        """Why it was not done."""
        return str(self.body["error"]["code"]) if not self.ok else ""


@dataclass
class Memory:
    """What clients were told and rely on."""

    kept: list[tuple[str, str]] = field(default_factory=list)
    """(table, id) of everything that was acknowledged."""
    ended: dict[tuple[str, str], str] = field(default_factory=dict)
    """The end that was told of something; it must never be another."""


class Client:
    """Speaks for one marketplace."""

    def __init__(
        self,
        name: str,
        credential: str,
        chance: Chance,
        trace: Trace,
        net: Net,
        replicas: Callable[[], Sequence[Server]],
    ) -> None:
        self.name = name
        self.credential = credential
        self.marketplace = ""
        self.memory = Memory()
        self._chance = chance
        self._trace = trace
        self._net = net
        self._replicas = replicas
        self._keys = 0

    def key(self) -> str:
        """A new idempotency key."""
        self._keys += 1
        return f"{self.name}-{self._keys:06d}"

    async def get(self, path: str) -> Told:
        """Read something."""
        return await self._settled("GET", path, None, None)

    async def put(self, path: str, body: Any) -> Told:
        """Set something."""
        return await self._settled("PUT", path, body, None)

    async def post(self, path: str, body: Any = None) -> Told:
        """Change something: asked until it is answered; an answer that was given stays the same."""
        key = self.key()
        told = await self._settled("POST", path, body, key)
        if not _takes_no_key(path) and self._chance.work.random() < ASKED_AGAIN and not self._net.is_calm:
            again = await self._settled("POST", path, body, key)
            running = told.ok and "ING" in str(told.data.get("status", ""))
            if again.status != told.status and not running:
                raise Broken(f"POST {path} under {key} was answered {told}, and then {again}")
            if told.ok and again.ok and told.data.get("id") != again.data.get("id"):
                raise Broken(f"POST {path} under {key} was done twice: {told}, {again}")
        return told

    async def _settled(self, method: str, path: str, body: Any, key: str | None) -> Told:
        drawn = self._chance.work
        for _ in range(TRIES_MAX):
            servers = self._replicas()
            if servers:
                found = await self._once(servers[int(drawn.random() * len(servers))], method, path, body, key)
                if found is not None:
                    return found
            await asyncio.sleep(drawn.uniform(*PAUSE_SECONDS))
        raise Broken(f"{method} {path} has no answer after {TRIES_MAX} tries")

    async def _once(self, server: Server, method: str, path: str, body: Any, key: str | None) -> Told | None:
        headers = [("authorization", f"Bearer {self.credential}"), ("content-type", "application/json")]
        if self.marketplace:
            headers.append(("x-marketplace-id", self.marketplace))
        if key is not None:
            headers.append(("idempotency-key", key))
        raw = b"" if body is None else json.dumps(body).encode()
        call = Call(method, f"http://offerhub/api/v1{path}", tuple(headers), raw)
        try:
            answer = await self._net.exchange(self.name, server, call, TIMEOUT_SECONDS)
        except (NotSent, NoAnswer):
            return None
        if answer is PAGE:
            return None
        self._trace.count("answers")
        told = Told(answer.status, json.loads(answer.body))
        if answer.status >= 500 and told.code != REFUSED_BY_PROVIDER:
            if told.code == "INTERNAL_ERROR":
                raise Broken(f"{method} {path}: {told}")
            return None
        return None if told.code in UNSETTLED else told

    # -- what it relies on -----------------------------------------------------------------------------------

    def keep(self, table: str, told: Told) -> str:
        """What was acknowledged must be there for ever."""
        found = str(told.data["id"])
        self.memory.kept.append((table, found))
        return found

    def end(self, kind: str, found: str, state: str) -> None:
        """An end that was told is the end."""
        before = self.memory.ended.setdefault((kind, found), state)
        if before != state:
            raise Broken(f"{kind} {found} had ended as {before}, and now as {state}")

    async def until(self, path: str, wanted: Callable[[Any], bool], refresh: bool = False) -> Any:
        """Look at something until it is as wanted; returns it."""
        drawn = self._chance.work
        while True:
            told = await (self.post(f"{path}/refresh") if refresh and drawn.random() < 0.5 else self.get(path))
            if told.ok and wanted(told.data):
                return told.data
            await asyncio.sleep(drawn.uniform(0.5, 4.0))
