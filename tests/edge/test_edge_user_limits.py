"""A route's own limit: it counts for a user, outside of any transaction, and never a repetition."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from edge_fixture import Stage
from starlette.types import ASGIApp

from asgi_client import Client
from offerhub.edge.rate_limit import RateLimiter
from offerhub.errors import InsufficientFunds, ProviderTimeout
from offerhub.runtime.routes import Body, Call, Envelope, Route, UserLimit

LIMIT, VARIABLE = 2, "SPENDING_LIMIT_PER_MINUTE"
OTHER_MARKETPLACE = "mkt_" + "2" * 32


class Spend(Body):
    user: str | None = None


def _spender(call: Call) -> str | None:
    user: str | None = call.body.user
    return user


def _route(path: str, handler: Any, **more: Any) -> Route:
    limit = UserLimit(VARIABLE, LIMIT, _spender)
    return Route(
        "POST", path, path.strip("/"), "", handler, "write", "orders", Envelope.DATA, body=Spend, limit=limit, **more
    )


@pytest.fixture
async def limiter(redis_url: str) -> AsyncIterator[RateLimiter]:
    # Nothing is regained during a test.
    made = RateLimiter.connect(redis_url, limit=LIMIT, window_seconds=3600)
    yield made
    await made.close()


@pytest.fixture
def app(stage: Stage, limiter: RateLimiter) -> ASGIApp:
    routes = (
        _route("/spend", stage.act),
        _route("/start", stage.start, resume=stage.resume),
        _route("/elsewhere", stage.act),
    )
    return stage.application(routes=routes, user_limits={VARIABLE: limiter})


def someone() -> str:
    return f"usr_{secrets.token_hex(16)}"


async def test_the_limit_counts_for_the_user_whoever_calls(stage: Stage, app: ASGIApp) -> None:
    user, ann, ben = someone(), *(Client(app, stage.credential("write"), f"192.0.2.{n}") for n in (7, 8))
    assert [(await caller.post("/spend", {"user": user})).status for caller in (ann, ben, ann)] == [200, 200, 429]
    disguises = [[("x-forwarded-for", "198.51.100.1")], [("user-agent", "x")], [("x-request-id", "y")]]
    for headers in disguises:
        assert (await ben.post("/spend", {"user": user}, headers=headers)).status == 429
    assert (await ben.post("/spend", {"user": user}, key=secrets.token_hex(4))).status == 429
    assert (await ann.post("/spend", {"user": someone()})).status == 200, "another user"
    assert (await ann.post("/elsewhere", {"user": user})).status == 200, "another route"
    master = Client(app, stage.credential(kind="master"))
    elsewhere = [("x-marketplace-id", OTHER_MARKETPLACE)]
    assert (await master.post("/spend", {"user": user}, headers=elsewhere)).status == 200, "another marketplace"
    assert [(await ann.post("/spend")).status for _ in range(LIMIT + 2)] == [200] * (LIMIT + 2), "nobody's"


async def test_the_refusal_is_the_one_of_every_limit(stage: Stage, app: ASGIApp) -> None:
    user, client = someone(), Client(app, stage.credential("write"))
    for _ in range(LIMIT):
        await client.post("/spend", {"user": user})
    refused = await client.post("/spend", {"user": user})
    wait = refused.details["retryAfter"]
    assert refused.code == "RATE_LIMITED"
    assert refused.details == {
        "limit": LIMIT,
        "windowSeconds": 3600,
        "window": "60m",
        "retryAfter": wait,
        "retry_after": wait,
        "requestId": refused.headers["x-request-id"],
    }
    assert refused.headers["retry-after"] == str(wait)
    assert (refused.headers["x-ratelimit-limit"], refused.headers["x-ratelimit-remaining"]) == (str(LIMIT), "0")


@pytest.mark.parametrize("path", ["/spend", "/start"])
async def test_a_repetition_is_answered_whatever_is_left(stage: Stage, app: ASGIApp, path: str) -> None:
    user, client, keys = someone(), Client(app, stage.credential("write")), [secrets.token_hex(4) for _ in range(3)]
    first, _, refused = [await client.post(path, {"user": user}, key=key) for key in keys]
    assert refused.status == 429
    for _ in range(LIMIT + 2):
        again = await client.post(path, {"user": user}, key=keys[0])
        assert (again.status, again.body) == (first.status, first.body)
        assert again.headers["idempotency-replay"] == "true"
    assert (await client.post(path, {"user": someone()}, key=keys[0])).code == "IDEMPOTENCY_KEY_REUSED"
    assert await stage.effects() == LIMIT


async def test_a_refused_request_keeps_its_key(stage: Stage, app: ASGIApp, limiter: RateLimiter) -> None:
    user, client, key = someone(), Client(app, stage.credential("write")), secrets.token_hex(4)
    for _ in range(LIMIT):
        await client.post("/spend", {"user": user})
    assert (await client.post("/spend", {"user": user}, key=key)).status == 429
    await limiter._client.flushdb()  # a minute later
    heard = await client.post("/spend", {"user": user}, key=key)
    assert (heard.status, "idempotency-replay" in heard.headers) == (200, False)


async def test_stored_refusals_and_freed_keys(stage: Stage, app: ASGIApp) -> None:
    user, client, key = someone(), Client(app, stage.credential("write")), secrets.token_hex(4)
    stage.raises = InsufficientFunds()
    assert (await client.post("/spend", {"user": user}, key=key)).status == 422
    assert (await client.post("/spend", {"user": user}, key=key)).status == 422
    stage.raises = ProviderTimeout()
    tries = [(await client.post("/spend", {"user": user}, key="freed")).status for _ in range(2)]
    assert tries == [504, 429], "a freed key begins anew, and counts"


async def test_a_long_name_is_nobody_else(stage: Stage, app: ASGIApp) -> None:
    user, client = someone(), Client(app, stage.credential("write"))
    for _ in range(LIMIT + 1):
        await client.post("/spend", {"user": user + "x" * 50_000})
    assert (await client.post("/spend", {"user": user})).status == 200


async def test_without_redis_everything_passes(stage: Stage) -> None:
    away = RateLimiter.connect("redis://127.0.0.1:1/0", limit=1, window_seconds=60)
    client = Client(
        stage.application(routes=(_route("/spend", stage.act),), user_limits={VARIABLE: away}),
        stage.credential("write"),
    )
    user = someone()
    assert [(await client.post("/spend", {"user": user})).status for _ in range(4)] == [200] * 4
    await away.close()


async def test_a_limit_that_is_not_set_is_off(stage: Stage) -> None:
    client = Client(stage.application(routes=(_route("/spend", stage.act),)), stage.credential("write"))
    user = someone()
    assert [(await client.post("/spend", {"user": user})).status for _ in range(LIMIT + 2)] == [200] * (LIMIT + 2)
