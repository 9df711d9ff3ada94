"""`/ready` and the health routes over the wire, while a server behind the product hangs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from offerhub.operations.service import READY_SECONDS_MAX
from offerhub.runtime.migrations import read_migrations
from support.outside import PATIENCE_SECONDS, eventually
from support.product import running
from support.strait import Strait, strait


@dataclass
class Site:
    """A product of its own behind lines that can fall silent."""

    url: str
    http: aiohttp.ClientSession
    database: Strait
    redis: Strait

    async def asks(self, path: str) -> tuple[int, Any]:
        async with self.http.get(f"{self.url}{path}", timeout=aiohttp.ClientTimeout(PATIENCE_SECONDS)) as answer:
            return answer.status, await answer.json()

    async def ready(self) -> int:
        return (await self.asks("/ready"))[0]


@pytest.fixture
async def site(
    office_environ: dict[str, str], fresh_database_url: str, http: aiohttp.ClientSession
) -> AsyncIterator[Site]:
    async with strait(fresh_database_url) as database, strait(office_environ["REDIS_URL"]) as redis:
        environ = {**office_environ, "DATABASE_URL": database.url, "REDIS_URL": redis.url}
        async with running(environ, jobs=False) as live:
            yield Site(live.url, http, database, redis)
            database.open()
            redis.open()


async def test_a_database_that_hangs_makes_it_not_ready_and_holds_nothing_up(site: Site) -> None:
    for base in ("", "/api/v1"):
        status, told = await site.asks(f"{base}/ready")
        assert (status, told["data"]["status"]) == (200, "ready")
        assert told["data"]["dependencies"]["schema"]["version"] == read_migrations()[-1].version
    site.database.close()
    await eventually(site.ready, lambda status: status == 503)
    for base in ("", "/api/v1"):
        status, told = await site.asks(f"{base}/ready")
        assert (status, told["error"]["code"]) == (503, "NOT_READY")
        dependencies = told["error"]["details"]["dependencies"]
        assert dependencies["database"]["error"] == f"No answer within {READY_SECONDS_MAX:g} s"
        assert dependencies["redis"]["status"] == "healthy"
        assert (await site.asks(f"{base}/health"))[0] == 200
    status, told = await site.asks("/health/detailed")
    assert (status, told["data"]["status"]) == (200, "unhealthy")
    assert told["data"]["dependencies"]["stellar"]["status"] in ("healthy", "degraded")
    site.database.open()
    await eventually(site.ready, lambda status: status == 200)


async def test_without_redis_it_stays_ready_and_health_says_so(site: Site) -> None:
    site.redis.close()

    async def redis() -> str:
        return str((await site.asks("/ready"))[1]["data"]["dependencies"]["redis"]["status"])

    await eventually(redis, lambda status: status == "unhealthy")
    assert await site.ready() == 200
    assert (await site.asks("/health"))[0] == 200
    told = (await site.asks("/api/v1/health/detailed"))[1]["data"]
    assert (told["status"], told["dependencies"]["redis"]["status"]) == ("unhealthy", "unhealthy")
    assert told["dependencies"]["queue"]["status"] == "degraded"
