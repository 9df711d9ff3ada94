"""A small application of the edge's own: one route for each thing that the edge must do."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.types import ASGIApp

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.edge.application import build
from offerhub.edge.rate_limit import RateLimiter
from offerhub.errors import InvalidApiKey, OrderNotFound, ProviderTimeout, Refusal
from offerhub.kernel.pages import Page
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.routes import Answer, Body, Call, Deferred, Envelope, Route
from offerhub.runtime.vault import Vault


class Item(Body):
    ref: str
    amount: str


class Thing(Body):
    name: Annotated[str, Meta(min_length=1, max_length=50)]
    count: Annotated[int, Meta(ge=1)] = 1
    items: list[Item] | None = None


class Optional(Body):
    reason: str | None = None


class Search(Body):
    limit: Annotated[int, Meta(ge=1)] = 20
    status: list[str] | None = None
    deep: bool = False
    after: int | None = None
    color: Literal["RED", "BLUE"] | None = None


@dataclass
class FakeSagas:
    """A saga engine whose sagas end when the test says so. `during` runs while a request waits."""

    refusals: dict[str, Refusal] = field(default_factory=dict)
    during: Callable[[str], Any] | None = None
    waits: list[tuple[str, float]] = field(default_factory=list)
    crash: bool = False
    running: bool = False

    async def wait(self, saga_id: str, seconds: float) -> None:
        self.waits.append((saga_id, seconds))
        if self.crash:
            raise RuntimeError("the process dies here")
        if self.during is not None:
            result = self.during(saga_id)
            if asyncio.iscoroutine(result):
                await result

    async def refusal(self, tx: Tx, saga_id: str) -> Refusal | None:
        return self.refusals.get(saga_id)

    async def is_terminal(self, tx: Tx, saga_id: str) -> bool:
        return not self.running


@dataclass
class Stage:
    """What the routes do, as far as a test decides it, and what they did."""

    database: Database
    sagas: FakeSagas = field(default_factory=FakeSagas)
    actors: dict[str, Actor] = field(default_factory=dict)
    runs: int = 0
    calls: list[Call] = field(default_factory=list)
    raises: Exception | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    proceed: asyncio.Event = field(default_factory=asyncio.Event)
    result: Any = None
    state: str = "RUNNING"
    prefix: str = field(default_factory=lambda: secrets.token_hex(6))

    def __post_init__(self) -> None:
        self.proceed.set()

    async def authenticate(self, credential: str, marketplace_id: str | None) -> Actor:
        actor = self.actors.get(credential)
        if actor is None:
            raise InvalidApiKey
        return msgspec.structs.replace(actor, marketplace_id=marketplace_id or actor.marketplace_id)

    def credential(self, *scopes: str, kind: Any = "api_key") -> str:
        """A credential with these scopes."""
        name = secrets.token_hex(8)
        self.actors[name] = Actor(DEFAULT_MARKETPLACE_ID, kind, f"key_{name}", "test", frozenset(scopes))
        return name

    async def effects(self) -> int:
        """How many effects were committed."""

        async def counting(tx: Tx) -> Any:
            return await tx.value("SELECT count(*) FROM leases WHERE holder = $1", self.prefix)

        found: int = await self.database.run(counting)
        return found

    async def act(self, call: Call) -> Any:
        self.runs += 1
        self.calls.append(call)
        await call.tx.execute(
            "INSERT INTO leases (name, holder, held_until) VALUES ($1, $2, now())",
            f"{self.prefix}:{self.runs}",
            self.prefix,
        )
        self.entered.set()
        await self.proceed.wait()
        if self.raises is not None:
            raise self.raises
        return self.result or {"id": "thing", "run": self.runs}

    async def start(self, call: Call) -> Deferred:
        await self.act(call)
        return Deferred(f"sga_{self.prefix}_{self.runs}", lambda tx: self.resume(call, ""), status=202)

    async def resume(self, call: Call, saga_id: str) -> Any:
        return Answer({"id": "thing", "state": self.state}, 202)

    async def look(self, call: Call) -> Any:
        self.calls.append(call)
        if self.raises is not None:
            raise self.raises
        return self.result if self.result is not None else {"id": "thing"}

    async def change_by_reading(self, call: Call) -> Any:
        await call.tx.execute("DELETE FROM leases")

    async def not_found(self, call: Call) -> Any:
        raise OrderNotFound(orderId=call.path["thing_id"])

    async def provider(self, call: Call) -> Any:
        raise ProviderTimeout

    def application(self, limiter: RateLimiter | None = None, **more: Any) -> ASGIApp:
        """The application with all the routes below."""
        return build(
            more.pop("routes", self.routes()),
            database=self.database,
            authenticate=self.authenticate,
            sagas=self.sagas,
            limiter=limiter,
            inline_wait_seconds=7.5,
            version="1.2.3",
            vault=more.pop("vault", Vault({1: b"k" * 32}, 1)),
            **more,
        )

    def routes(self) -> tuple[Route, ...]:
        look: dict[str, Any] = {"scope": "read", "domain": "orders", "unit": "read"}
        act: dict[str, Any] = {"scope": "write", "domain": "orders", "envelope": Envelope.DATA}
        return (
            Route("GET", "/open", "open", "", self.look, "public", "x", Envelope.DATA, unit="none"),
            Route("GET", "/data", "data", "", self.look, envelope=Envelope.DATA, **look),
            Route("GET", "/success", "success", "", self.look, envelope=Envelope.SUCCESS, **look),
            Route("GET", "/flat", "flat", "", self.look, envelope=Envelope.FLAT, **look),
            Route("GET", "/list", "list", "", self.look, envelope=Envelope.LIST, query=Search, **look),
            Route("GET", "/page", "page", "", self.look, envelope=Envelope.PAGE, **look),
            Route("GET", "/reading", "reading", "", self.change_by_reading, envelope=Envelope.DATA, **look),
            Route("GET", "/things/{thing_id}", "thing", "", self.not_found, envelope=Envelope.DATA, **look),
            Route("DELETE", "/things/{thing_id}", "drop", "", self.act, **act),
            Route("POST", "/things", "make", "", self.act, status=201, body=Thing, **act),
            Route("POST", "/optional", "optional", "", self.act, body=Optional, body_optional=True, **act),
            Route("POST", "/bare", "bare", "", self.act, **act),
            Route("POST", "/open", "openWrite", "", self.act, "public", "x", Envelope.DATA),
            Route("POST", "/started", "started", "", self.start, body=Optional, resume=self.resume, **act),
            Route("POST", "/secret", "secret", "", self.act, sealed=True, **act),
            Route("POST", "/support", "support", "", self.act, "support", "x", Envelope.DATA),
            Route("POST", "/master", "master", "", self.act, "master", "x", Envelope.DATA),
            Route("GET", "/any", "any", "", self.look, "any", "x", Envelope.DATA, unit="none"),
        )


def one_page() -> Page:
    """A page with another one after it."""
    return Page([{"id": "b"}, {"id": "a"}], "a")
