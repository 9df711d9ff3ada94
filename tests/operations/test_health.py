"""Health and configuration: what the public is told."""

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest

from offerhub.errors import NotReady, Refusal
from offerhub.kernel.clock import ManualClock
from offerhub.operations import service
from offerhub.operations.api import routes
from offerhub.operations.model import Facts, Probe, PublicConfig, Shortcoming
from offerhub.runtime.actor import Actor
from offerhub.runtime.routes import Call

CALL = Call(Actor("mkt", "public", "public", "public"), {}, None, None, None)
CONFIG = PublicConfig(fiat="none", sse=True, airtm=False, trustless_work=True)


async def well() -> None:
    return None


async def broken() -> None:
    raise OSError("connect to db.internal:5432 as admin failed")


async def hanging() -> None:
    await asyncio.Event().wait()


async def short() -> None:
    raise Shortcoming("The platform's account has 1.0000000 XLM left")


async def refused() -> None:
    raise Refusal


async def answer(path: str, probes: dict[str, Probe]) -> Any:
    found = {route.path: route for route in routes(version="9.9", probes=probes, config=CONFIG, clock=ManualClock())}
    return msgspec.to_builtins(await found[path].handler(CALL))


async def test_health_asks_nothing() -> None:
    assert await answer("/health", {"database": Probe(broken, essential=True)}) == {
        "status": "healthy",
        "version": "9.9",
        "timestamp": "2026-01-01T00:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("probes", "overall"),
    [
        ({"database": Probe(well, essential=True), "stellar": Probe(well)}, "healthy"),
        ({"database": Probe(well, essential=True), "airtm": Probe(None)}, "healthy"),
        ({"database": Probe(well, essential=True), "stellar": Probe(broken)}, "degraded"),
        ({"database": Probe(well, essential=True), "stellar": Probe(short)}, "degraded"),
        ({"database": Probe(broken, essential=True), "stellar": Probe(refused)}, "unhealthy"),
    ],
)
async def test_the_worst_that_is_used_counts(probes: dict[str, Probe], overall: str) -> None:
    assert (await answer("/health/detailed", probes))["status"] == overall


async def test_each_dependency_answers_for_itself() -> None:
    probes = {"database": Probe(broken, essential=True), "redis": Probe(well), "airtm": Probe(None)}
    found = (await answer("/health/detailed", probes))["dependencies"]
    assert found["database"] == {"status": "unhealthy", "error": "Not reachable"}
    assert found["redis"] == {"status": "healthy", "latency": 0.0}
    assert found["airtm"] == {"status": "degraded", "error": "Not configured"}


async def test_a_provider_tells_of_its_breaker() -> None:
    probes = {
        "stellar": Probe(well, breaker=lambda: "closed"),
        "airtm": Probe(well, breaker=lambda: "open"),
        "trustlessWork": Probe(broken, breaker=lambda: "half_open"),
    }
    told = await answer("/health/detailed", probes)
    assert told["dependencies"] == {
        "stellar": {"status": "healthy", "latency": 0.0, "breaker": "closed"},
        "airtm": {"status": "degraded", "latency": 0.0, "error": "Calls are held back", "breaker": "open"},
        "trustlessWork": {"status": "degraded", "error": "Not reachable", "breaker": "half_open"},
    }
    assert told["status"] == "degraded"


async def test_a_provider_that_answers_again_is_healthy_before_anybody_has_called_it() -> None:
    """Else an installation without traffic would stay degraded for ever."""
    told = await answer("/health/detailed", {"airtm": Probe(well, breaker=lambda: "half_open")})
    assert told["status"] == "healthy"


async def test_a_hanging_dependency_is_not_waited_for() -> None:
    overall, found = await service.examine(
        {"a": Probe(hanging, essential=True), "b": Probe(hanging)}, ManualClock(), seconds_max=0.01
    )
    assert overall == "unhealthy"
    assert (found["a"].error, found["b"].status) == ("No answer within 0.01 s", "degraded")


async def test_a_dependency_that_heeds_no_cancellation_is_not_waited_for_either() -> None:
    """Like a driver that asks a hanging server to end its statement, and waits for that."""
    answers = asyncio.Event()

    async def deaf() -> None:
        while not answers.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await answers.wait()

    before = set(service._let_go)
    _, found = await service.examine({"a": Probe(deaf, essential=True)}, ManualClock(), seconds_max=0.01)
    assert (found["a"].status, found["a"].error) == ("unhealthy", "No answer within 0.01 s")
    (let_go,) = service._let_go - before
    answers.set()
    await let_go
    assert let_go not in service._let_go


async def outdated() -> Facts:
    raise Shortcoming("2 migrations are not applied", Facts(version=34), unusable=True)


async def current() -> Facts:
    return Facts(version=36)


@pytest.mark.parametrize(
    ("probes", "short_of"),
    [
        ({"database": Probe(well, essential=True), "schema": Probe(current, essential=True)}, None),
        ({"database": Probe(well, essential=True), "redis": Probe(broken, essential=True)}, None),
        ({"database": Probe(well, essential=True), "stellar": Probe(broken)}, None),
        ({"database": Probe(broken, essential=True), "redis": Probe(well, essential=True)}, "database"),
        ({"database": Probe(well, essential=True), "schema": Probe(outdated, essential=True)}, "schema"),
    ],
)
async def test_ready_is_who_has_a_database_with_the_schema(probes: dict[str, Probe], short_of: str | None) -> None:
    """Not who has Redis, or providers: without them requests are still answered, and no other process has them."""
    if short_of is None:
        told = await answer("/ready", probes)
        assert (told["status"], set(told["dependencies"])) == ("ready", set(probes) - {"stellar"})
        return
    with pytest.raises(NotReady) as raised:
        await answer("/ready", probes)
    assert raised.value.details["dependencies"][short_of]["status"] == "unhealthy"


async def test_many_who_ask_whether_it_is_ready_are_one_question() -> None:
    asked = 0

    async def counted() -> None:
        nonlocal asked
        asked += 1

    clock = ManualClock()
    ready = service.Readiness({"database": Probe(counted, essential=True)}, frozenset({"database"}), clock)
    await asyncio.gather(*(ready.require() for _ in range(50)))
    assert asked == 1
    clock.advance(service.READY_KEPT_SECONDS + 0.1)
    await ready.require()
    assert asked == 2


async def test_a_schema_shows_its_version() -> None:
    told = await answer("/health/detailed", {"schema": Probe(current, essential=True)})
    assert told["dependencies"]["schema"] == {"status": "healthy", "latency": 0.0, "version": 36}
    told = await answer("/health/detailed", {"schema": Probe(outdated, essential=True)})
    assert told["dependencies"]["schema"] == {
        "status": "unhealthy",
        "error": "2 migrations are not applied",
        "version": 34,
    }
    assert told["status"] == "unhealthy"


async def test_config() -> None:
    config = await answer("/config", {})
    assert config["features"] == {
        "milestones": True,
        "disputes": True,
        "sse": True,
        "airtm": False,
        "trustlessWork": True,
    }
    assert config["providers"] == {"fiat": "none", "escrow": "trustless_work"}
    assert (config["currencies"], config["version"]) == (["USD"], "9.9")
    assert config["limits"]["withdrawal"] == {"min": "10.00", "max": "5000.00"}


def test_everything_here_is_public_and_touches_no_transaction() -> None:
    declared = routes(version="1", probes={}, config=CONFIG)
    assert {route.path for route in declared} == {"/health", "/health/detailed", "/ready", "/config"}
    assert {(route.scope, route.unit) for route in declared} == {("public", "none")}


async def test_what_somebody_should_look_at_is_told_in_its_own_words() -> None:
    found = await answer("/health/detailed", {"stellar": Probe(short)})
    assert found["dependencies"]["stellar"] == {
        "status": "degraded",
        "error": "The platform's account has 1.0000000 XLM left",
    }
