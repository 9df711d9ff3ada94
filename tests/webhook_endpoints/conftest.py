"""Webhooks out without the rest of the product: a database, a receiver, and a time that tests move."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.events import service as events
from offerhub.events.journal import Event, record
from offerhub.kernel.clock import SystemClock
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Database, Row, Tx
from offerhub.runtime.vault import Vault
from offerhub.settings import WebhooksOut as Settings
from offerhub.webhook_endpoints.model import CreateWebhookEndpoint, Endpoint
from offerhub.webhook_endpoints.out import WebhooksOut
from support.receiver import Receiver, receiving

VAULT = Vault({1: b"k" * 32}, 1)
ACTOR: Actor = system(DEFAULT_MARKETPLACE_ID, "test")


@dataclass
class Post:
    """The sending side. `ahead` moves its time."""

    database: Database
    out: WebhooksOut = field(init=False)
    ahead: timedelta = timedelta()
    made: list[WebhooksOut] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.out = self.another()

    def another(self, *, timeout_seconds: float = 5, vault: Vault = VAULT, public: bool = False) -> WebhooksOut:
        """A process beside the first."""
        settings = Settings(public, timeout_seconds, disable_after_hours=72, retention_days=30)
        out = WebhooksOut(settings, self.database, vault, SystemClock(), self.moment)
        self.made.append(out)
        return out

    async def moment(self, tx: Tx) -> datetime:
        now: datetime = await tx.value("SELECT clock_timestamp()")
        return now + self.ahead

    async def endpoint(self, receiver: Receiver, *types: str) -> tuple[Endpoint, str]:
        body = CreateWebhookEndpoint(url=receiver.url, eventTypes=list(types) or None)
        return await self.database.run(lambda tx: self.out.endpoints.create(tx, ACTOR, body))

    async def happen(self, aggregate_id: str, *types: str, **payload: Any) -> None:
        """Events of an order, each committed by itself."""
        for name in types:
            event = Event(name, "Order", aggregate_id, {"orderId": aggregate_id, **payload})

            async def write(tx: Tx, event: Event = event) -> None:
                await record(tx, ACTOR, events=[event])

            await self.database.run(write)

    async def dispatch(self, out: WebhooksOut | None = None) -> list[str]:
        """One turn of the dispatcher; returns the endpoints that have work now."""
        last = await self.value("SELECT coalesce(max(id), 0) FROM outbox")
        await events.settle(self.database)
        await self.database.run((out or self.out).dispatcher.turn)
        rows = await self.rows("SELECT payload FROM outbox WHERE id > $1 AND queue = 'webhook-deliveries'", last)
        return [row["payload"]["endpointId"] for row in rows]

    async def deliver(self, out: WebhooksOut | None = None) -> None:
        """Dispatch, and send to whoever has work, until nobody has."""
        chosen = out or self.out
        while work := await self.dispatch(chosen):
            await asyncio.gather(*(chosen.sender.send({"endpointId": one}) for one in work))

    async def rows(self, sql: str, *args: Any) -> list[Row]:
        return await self.database.run(lambda tx: tx.rows(sql, *args), read_only=True)

    async def value(self, sql: str, *args: Any) -> Any:
        return await self.database.run(lambda tx: tx.value(sql, *args), read_only=True)

    async def statuses(self, endpoint_id: str) -> list[str]:
        sql = "SELECT status FROM webhook_deliveries WHERE endpoint_id = $1 ORDER BY aggregate_id, sequence"
        rows = await self.rows(sql, endpoint_id)
        return [row["status"] for row in rows]


@pytest.fixture
async def post(fresh_database_url: str) -> AsyncIterator[Post]:
    database = await Database.connect(fresh_database_url)
    post = Post(database)
    yield post
    for out in post.made:
        await out.close()
    await database.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found
