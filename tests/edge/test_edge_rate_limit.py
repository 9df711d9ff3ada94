"""The rate limit on a real Redis server, and without one."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
import structlog
from edge_fixture import Stage

from asgi_client import Client
from offerhub.edge.rate_limit import RateLimiter
from offerhub.kernel.clock import ManualClock
from support.own_redis import OwnRedis

# Nothing is regained during a test: one request in twenty minutes.
LIMIT, WINDOW_SECONDS = 3, 3600


def address() -> str:
    """A client that no other test has been."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
async def limiter(redis_url: str) -> AsyncIterator[RateLimiter]:
    made = RateLimiter.connect(redis_url, limit=LIMIT, window_seconds=WINDOW_SECONDS)
    yield made
    await made.close()


async def test_the_limit_is_exact_and_told(stage: Stage, limiter: RateLimiter) -> None:
    client = Client(stage.application(limiter), ip=address())
    remaining = []
    for _ in range(LIMIT):
        heard = await client.get("/open")
        assert heard.status == 200
        assert heard.headers["x-ratelimit-limit"] == "3"
        remaining.append(heard.headers["x-ratelimit-remaining"])
    assert remaining == ["2", "1", "0"]
    refused = await client.get("/open")
    assert (refused.status, refused.code) == (429, "RATE_LIMITED")
    wait = refused.details["retryAfter"]
    assert 0 < wait <= WINDOW_SECONDS / LIMIT
    assert refused.details == {
        "limit": 3,
        "windowSeconds": 3600,
        "window": "60m",
        "retryAfter": wait,
        "retry_after": wait,
        "requestId": refused.headers["x-request-id"],
    }
    assert refused.headers["retry-after"] == str(wait)
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert int(refused.headers["x-ratelimit-reset"]) > 1_700_000_000


async def test_the_limit_belongs_to_the_key(stage: Stage, limiter: RateLimiter) -> None:
    app, ip = stage.application(limiter), address()
    first, second = (Client(app, stage.credential("read"), ip) for _ in range(2))
    for _ in range(LIMIT):
        assert (await first.get("/data")).status == 200
    assert (await first.get("/data")).status == 429
    assert (await second.get("/data")).status == 200
    # Public routes are limited by address, whoever calls.
    assert (await first.get("/open")).status == 200


@pytest.mark.parametrize("path", ["/nowhere", "/data", "/open"])
async def test_strangers_are_limited_by_address(stage: Stage, limiter: RateLimiter, path: str) -> None:
    app = stage.application(limiter)
    stranger, other = Client(app, "nobody", address()), Client(app, "nobody", address())
    usual = [(await stranger.get(path)).status for _ in range(LIMIT)]
    assert 429 not in usual
    assert (await stranger.get(path)).status == 429
    assert (await other.get(path)).status == usual[0]


async def test_what_was_spent_comes_back_evenly(redis_url: str) -> None:
    limiter = RateLimiter.connect(redis_url, limit=1000, window_seconds=1)
    who = address()
    try:
        await limiter.take(who)
        # A thousandth of a second is enough for one; the server's own clock counts.
        first = await limiter.take(who)
        assert first.wait_seconds == 0
        assert first.remaining >= 998
    finally:
        await limiter.close()


async def test_without_a_limit_there_are_no_headers(client: Client) -> None:
    assert "x-ratelimit-limit" not in (await client.get("/open")).headers


async def test_a_lost_script_is_loaded_again(stage: Stage, limiter: RateLimiter) -> None:
    client = Client(stage.application(limiter), ip=address())
    assert (await client.get("/open")).headers["x-ratelimit-remaining"] == "2"
    await limiter._client.script_flush()
    assert (await client.get("/open")).headers["x-ratelimit-remaining"] == "1"


async def test_without_redis_requests_pass_with_one_warning() -> None:
    clock = ManualClock()
    limiter = RateLimiter.connect("redis://127.0.0.1:1/0", limit=LIMIT, window_seconds=WINDOW_SECONDS, clock=clock)
    asked: list[Any] = []
    prompt = limiter._script
    script = prompt._script

    async def counting(**arguments: Any) -> Any:
        asked.append(arguments)
        return await script(**arguments)

    prompt._script = counting  # type: ignore[assignment]
    with structlog.testing.capture_logs() as logs:
        for _ in range(LIMIT + 2):
            allowance = await limiter.take("ip:x")
            assert (allowance.wait_seconds, allowance.remaining) == (0, LIMIT)
        assert len(asked) == 1  # one in a second pays for the attempt
        clock.advance(1)
        await limiter.take("ip:x")
        assert len(asked) == 2
        clock.advance(30)
        await limiter.take("ip:x")
    assert [entry["event"] for entry in logs] == ["rate_limit_off", "rate_limit_off"]
    await limiter.close()


async def test_a_hanging_redis_is_not_waited_for(stage: Stage, own_redis: OwnRedis) -> None:
    await own_redis.start()
    limiter = RateLimiter.connect(own_redis.url, limit=LIMIT, window_seconds=WINDOW_SECONDS)
    other = redis.asyncio.Redis.from_url(own_redis.url)
    client = Client(stage.application(limiter), ip=address())
    assert (await client.get("/open")).headers["x-ratelimit-remaining"] == "2"
    await other.execute_command("CLIENT", "PAUSE", "600", "ALL")
    heard = await client.get("/open")
    assert (heard.status, heard.headers["x-ratelimit-remaining"]) == (200, str(LIMIT))
    await other.execute_command("CLIENT", "UNPAUSE")
    await other.aclose()
    await limiter.close()
