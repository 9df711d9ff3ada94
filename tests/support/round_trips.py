"""Counts the round trips of requests to a running product, as its metrics are told, and keeps the page of them."""

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import aiohttp

from offerhub.runtime.metrics import Metrics
from offerhub.runtime.round_trips import RoundTrips
from reference_pages.markdown import block, filled, table
from support.outside import eventually
from support.product import Marketplace, unique
from support.routes import all_routes

PAGE: Final = Path(__file__).parents[2] / "docs" / "operating" / "performance.md"
BLOCK: Final = "tests/product/test_round_trips.py"
WRITE: Final = "OFFERHUB_WRITE_ROUND_TRIPS"

Trips = tuple[int, int]
"""SQL statements, and calls to Redis, of one request."""


class Counter:
    """Sends requests one by one, and notes what each asked, under its route's name."""

    def __init__(self) -> None:
        self._heard: list[tuple[str, int, Trips]] = []
        self.found: dict[str, Trips] = {}

    def observe(self, metrics: Metrics, route: str, status: int, seconds: float, asked: RoundTrips) -> None:
        """In place of `Metrics.request`."""
        self._heard.append((route, status, (asked.sql, asked.redis)))

    async def ask(self, client: Marketplace, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The data of an answer of success, whose round trips are noted; a POST has a key unless told otherwise."""
        if method != "GET" and "key" not in more:
            more["key"] = unique("counted")
        await client.get("/auth/me")  # its key is known from here on
        self._heard.clear()
        heard = await client.send(method, path, body, **more)
        # With 504 something has begun that nobody has waited for.
        assert heard.status < 400 or heard.status == 504, (method, path, heard.body[:1000])
        await self._note()
        return heard.json.get("data") if heard.body[:1] == b"{" else None

    async def browse(self, sent: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> None:
        """Note the round trips of what a browser sends."""
        self._heard.clear()
        async with sent as answer:
            assert answer.status < 400, await answer.text()
        await self._note()

    async def _note(self) -> None:
        counted = await eventually(self._first, lambda found: found is not None)
        assert counted is not None
        self.found.setdefault(counted[0], counted[2])

    async def trips(self, client: Marketplace, method: str, path: str, body: Any = None, **more: Any) -> Trips:
        """The round trips of one more request, which are not noted."""
        kept, self.found = self.found, {}
        await self.ask(client, method, path, body, **more)
        [trips] = self.found.values()
        self.found = kept
        return trips

    async def _first(self) -> tuple[str, int, Trips] | None:
        return self._heard[0] if self._heard else None


def rendered(found: Mapping[str, Trips]) -> str:
    """The table of the page: every route in the order of its declaration."""
    rows = []
    for route in all_routes():
        sql, redis = found[route.name]
        rows.append([f"`{route.method} {route.path}`", str(sql), str(redis)])
    return table(["request", "SQL", "Redis"], rows)


def shown(found: Mapping[str, Trips]) -> tuple[str, str]:
    """The page's block as it is, and as it should be. With WRITE in the environment the page is written."""
    page, wanted = PAGE.read_text(encoding="utf-8"), rendered(found)
    if os.environ.get(WRITE):
        page = filled(page, BLOCK, wanted)
        PAGE.write_text(page, encoding="utf-8")
    begin = page.index(f"<!-- from {BLOCK} -->")
    end = page.index("<!-- end -->\n", begin) + len("<!-- end -->\n")
    return page[begin:end], block(BLOCK, wanted)
