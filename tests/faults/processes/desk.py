"""One process of the product as a client meets it: its whole edge, without a server, and nothing in the background.

What a worker would do of its own accord (a job, a page of deposits) is done when it is asked for, so that a process
does the same statements in the same order each time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from asgi_client import Client, Heard
from faults.processes.fuse import Fuse
from offerhub.app import Product, http_application
from offerhub.providers.stellar.horizon import CursorTooOld
from offerhub.runtime.database import UNREACHABLE, Database, Tx
from offerhub.runtime.http import HttpClient
from offerhub.runtime.jobs import Handler
from offerhub.settings import load
from offerhub.wallets.deposits import CursorMoved
from offerhub.worker import handlers

DONE_SECONDS: Final = 120.0
POOL_SIZE: Final = 4
AGAIN_SECONDS: Final = 0.02

CLEAR: Final = frozenset({"SERVICE_UNAVAILABLE", "IDEMPOTENCY_KEY_IN_PROGRESS"})
"""What a client may be told while the database is in trouble: that it shall ask again."""


class AskAgain(Exception):
    """No end yet: the answer says that the request may be repeated, or that it is still being worked on."""


@dataclass
class Desk:
    """The process. `told` is every answer that was no end, as `503 SERVICE_UNAVAILABLE`."""

    product: Product
    jobs: Mapping[tuple[str, str], Handler]
    _client: Client
    told: list[str] = field(default_factory=list)

    def using(self, credential: str) -> "Desk":
        """The same process, asked with another credential."""
        return replace(self, _client=Client(self._client.app, credential))

    async def post(self, path: str, body: Any = None, *, key: str = "", **more: Any) -> Any:
        """The data of a request's good end. Raises AskAgain, and AssertionError for a refusal."""
        heard = await self._client.post(f"/api/v1{path}", body, key=key or None, **more)
        if heard.status in (200, 201):
            return heard.data if "data" in heard.json else heard.json
        self._must_be_clear(path, heard)
        raise AskAgain(self.told[-1])

    def _must_be_clear(self, path: str, heard: Heard) -> None:
        code = "" if heard.status == 202 else heard.code
        self.told.append(f"{heard.status} {code}".strip())
        assert heard.status == 202 or code in CLEAR, f"{path}: {heard.status} {heard.body.decode()}"

    async def book_deposits(self) -> None:
        """What the watcher does: book pages until none is left."""
        while await self.product.deposits.book_page():
            pass

    async def settle(self, subject: str, mark: str) -> None:
        """Drive every saga about these subjects (SQL, by the mark) to its end."""
        running = await self.product.database.run(partial(_running, subject, mark), read_only=True)
        await asyncio.gather(*(self.product.engine.wait(saga_id, DONE_SECONDS) for saga_id in running))


async def _running(subject: str, mark: str, tx: Tx) -> list[str]:
    sql = f"SELECT id FROM sagas WHERE status = 'RUNNING' AND subject_id IN ({subject}) ORDER BY id"
    return [row["id"] for row in await tx.rows(sql, mark)]


PASSING: Final = (AskAgain, CursorMoved, CursorTooOld, *UNREACHABLE)
"""Why a client, a worker or the watcher tries again."""


@contextlib.asynccontextmanager
async def desk(environ: Mapping[str, str], credential: str, fuse: Fuse | None = None) -> AsyncIterator[Desk]:
    """Start a process with these variables; with a fuse, one that may die."""
    settings = load(environ)
    url = settings.storage.database_url.reveal()
    database = await Database.connect(url, pool_size=POOL_SIZE, hook=fuse)
    http = HttpClient(fuse)
    product = Product(settings, database, http)
    try:
        async with http_application(product) as edge:
            yield Desk(product, handlers(product), Client(edge, credential))
    finally:
        await product.engine.stop()
        await http.close()
        await product.webhooks_out.close()
        await database.close()
