"""The line to a provider, on real HTTP: what is held back, what is repeated, and what a bad provider costs others."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from offerhub.kernel.clock import ManualClock, SystemClock
from offerhub.runtime.budget import RequestBudget
from offerhub.runtime.http import HttpClient, Method, NoAnswer, NotSent
from offerhub.runtime.line import HeldBack, Line, LineOptions
from offerhub.runtime.urgency import Urgency, working
from support.outside import PATIENCE_SECONDS


@dataclass
class Provider:
    """Answers with the next status of its script, then with 200; some paths hang until `release`, or drip."""

    script: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    reached: list[str] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.reached.append(f"{request.method} {request.path}")
        match request.path:
            case "/hang":
                await self.release.wait()
            case "/reset":
                assert request.transport is not None
                request.transport.abort()
            case "/drip":
                response = web.StreamResponse(headers={"content-length": "1000000"})
                await response.prepare(request)
                while not self.release.is_set():
                    await response.write(b" ")
                    await asyncio.sleep(0.02)
        status = self.script.pop(0) if self.script else 200
        return web.Response(status=status, body=b"{}", headers=self.headers if status != 200 else {})


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.answer)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("")).rstrip("/")
    yield made
    made.release.set()
    await server.close()


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def line_to(http: HttpClient, clock: ManualClock, **options: object) -> Line:
    return Line("airtm", http, clock, LineOptions(**options))  # type: ignore[arg-type]


def unreachable_url() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


# -- repeating ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [[502, 503], [429, 500], [429, 429]])
async def test_a_read_that_fails_in_passing_is_repeated(
    http: HttpClient, clock: ManualClock, provider: Provider, script: list[int]
) -> None:
    provider.script = list(script)
    line = line_to(http, clock)
    assert (await line.call("GET", provider.url + "/x", name="t")).status == 200
    assert len(provider.reached) == 3
    counted = line.snapshot()
    assert counted.retries == 2
    assert counted.calls == {
        **({"rate_limited": script.count(429)} if 429 in script else {}),
        **({"server_error": 2 - script.count(429)} if script != [429, 429] else {}),
        "answered": 1,
    }


async def test_a_read_without_an_answer_is_repeated(http: HttpClient, clock: ManualClock, provider: Provider) -> None:
    line = line_to(http, clock, attempts=2)
    with pytest.raises(NoAnswer) as caught:
        await line.call("GET", provider.url + "/reset", name="t")
    assert caught.value.__cause__ is not None, "aiohttp's own error, as without a line"
    assert line.snapshot().calls == {"no_answer": 2}


async def test_the_last_answer_is_the_answer(http: HttpClient, clock: ManualClock, provider: Provider) -> None:
    provider.script = [500, 502, 503, 504]
    assert (await line_to(http, clock).call("GET", provider.url + "/x", name="t")).status == 503


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_a_refusal_is_an_answer(http: HttpClient, clock: ManualClock, provider: Provider, status: int) -> None:
    provider.script = [status] * 30
    line = line_to(http, clock, breaker_failures=1)
    for _ in range(3):
        assert (await line.call("GET", provider.url + "/x", name="t")).status == status
    assert len(provider.reached) == 3
    assert (line.breaker, line.snapshot().calls) == ("closed", {"refused": 3})


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_has_an_effect_is_sent_once(
    http: HttpClient, clock: ManualClock, provider: Provider, method: Method, status: int
) -> None:
    provider.script = [status]
    assert (await line_to(http, clock).call(method, provider.url + "/x", name="t")).status == status
    assert provider.reached == [f"{method} /x"]


async def test_a_post_without_an_answer_stays_unknown(
    http: HttpClient, clock: ManualClock, provider: Provider
) -> None:
    line = line_to(http, clock, breaker_failures=1)
    with pytest.raises(NoAnswer):
        await line.call("POST", provider.url + "/reset", name="t", body=b"{}")
    assert provider.reached == ["POST /reset"]
    # It opened the breaker; the next one is certain not to have been sent, and says so.
    with pytest.raises(HeldBack) as caught:
        await line.call("POST", provider.url + "/x", name="t", body=b"{}")
    assert isinstance(caught.value, NotSent)
    assert caught.value.reason == "breaker_open"
    assert provider.reached == ["POST /reset"]


async def test_repeating_ends_with_the_call_s_time(http: HttpClient, provider: Provider) -> None:
    line = Line("airtm", http, SystemClock(), LineOptions(attempts=10))
    with pytest.raises(NoAnswer):
        await line.call("GET", provider.url + "/hang", name="t", timeout_seconds=0.2)
    assert provider.reached == ["GET /hang"], "an attempt that used the time up leaves none for another"
    assert line.snapshot().held_back == {}, "and another is not even tried"


async def test_a_dripping_body_is_bounded(http: HttpClient, provider: Provider) -> None:
    line = Line("airtm", http, SystemClock(), LineOptions())
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(NoAnswer):
            await line.call("GET", provider.url + "/drip", name="t", timeout_seconds=0.3)
    assert line.snapshot().places_taken == 0


# -- being asked to wait -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["3", "Thu, 01 Jan 2026 00:00:03 GMT"])
async def test_retry_after_holds_the_whole_line(
    http: HttpClient, clock: ManualClock, provider: Provider, asked: str
) -> None:
    provider.script, provider.headers = [429], {"Retry-After": asked}
    line = line_to(http, clock)
    assert (await line.call("POST", provider.url + "/x", name="t")).status == 429
    assert clock.monotonic() == 0
    assert (await line.call("GET", provider.url + "/y", name="t")).status == 200
    assert clock.monotonic() == 3, "another call waited as well"
    assert line.breaker == "closed"


async def test_a_read_waits_as_long_as_it_is_asked_to(
    http: HttpClient, clock: ManualClock, provider: Provider
) -> None:
    provider.script, provider.headers = [429], {"Retry-After": "4"}
    assert (await line_to(http, clock).call("GET", provider.url + "/x", name="t")).status == 200
    assert clock.monotonic() == 4


async def test_whoever_cannot_wait_so_long_is_told_at_once(
    http: HttpClient, clock: ManualClock, provider: Provider
) -> None:
    provider.script, provider.headers = [429], {"Retry-After": "86400"}
    line = line_to(http, clock)
    assert (await line.call("GET", provider.url + "/x", name="t")).status == 429
    with pytest.raises(HeldBack) as caught:
        await line.call("GET", provider.url + "/x", name="t")
    assert caught.value.reason == "asked_to_wait"
    assert (clock.monotonic(), len(provider.reached)) == (0, 1)
    # Nobody is asked to wait for a day.
    clock.advance(60)
    assert (await line.call("GET", provider.url + "/x", name="t")).status == 200


@pytest.mark.parametrize("asked", ["", "soon", "-5", "Thu, 01 Jan 2015 00:00:00 GMT"])
async def test_a_useless_retry_after_is_none(
    http: HttpClient, clock: ManualClock, provider: Provider, asked: str
) -> None:
    provider.script, provider.headers = [429], {"Retry-After": asked}
    assert (await line_to(http, clock).call("GET", provider.url + "/x", name="t")).status == 200
    assert clock.monotonic() == 0


# -- the breaker -------------------------------------------------------------------------------------------------


async def test_it_opens_on_failures_and_recovers(http: HttpClient, clock: ManualClock, provider: Provider) -> None:
    provider.script = [500] * 3
    line = line_to(http, clock, breaker_failures=3, breaker_seconds=10)
    for _ in range(3):
        assert (await line.call("POST", provider.url + "/x", name="t")).status == 500
    assert line.breaker == "open"
    with pytest.raises(HeldBack):
        await line.call("GET", provider.url + "/x", name="t")
    assert len(provider.reached) == 3
    clock.advance(10)
    assert (await line.call("POST", provider.url + "/x", name="t")).status == 200
    counted = line.snapshot()
    assert counted.breaker == "closed"
    assert counted.breaker_transitions == {"open": 1, "half_open": 1, "closed": 1}
    assert counted.held_back == {"breaker_open": 1}


async def test_a_refused_connection_counts(http: HttpClient, clock: ManualClock) -> None:
    line = line_to(http, clock, breaker_failures=2, attempts=1)
    for _ in range(2):
        with pytest.raises(NotSent):
            await line.call("POST", unreachable_url() + "/x", name="t")
    assert line.breaker == "open"
    assert line.snapshot().calls == {"not_sent": 2}


async def test_limits_and_neutral_answers_do_not_open_it(
    http: HttpClient, clock: ManualClock, provider: Provider
) -> None:
    provider.script = [429, 504, 429, 504, 429, 504]
    line = line_to(http, clock, breaker_failures=1, neutral=frozenset({("POST", 504)}))
    for _ in range(6):
        await line.call("POST", provider.url + "/x", name="t")
    assert line.breaker == "closed"


async def test_a_read_says_what_it_came_to_and_not_that_its_repetition_was_held_back(
    http: HttpClient, clock: ManualClock, provider: Provider
) -> None:
    provider.script = [503, 503]
    line = line_to(http, clock, breaker_failures=1)
    assert (await line.call("GET", provider.url + "/x", name="t")).status == 503
    assert provider.reached == ["GET /x"]


async def test_a_cancelled_trial_lets_the_next_one_try(
    http: HttpClient, clock: ManualClock, provider: Provider
) -> None:
    provider.script = [500]
    line = line_to(http, clock, breaker_failures=1, breaker_seconds=10)
    await line.call("POST", provider.url + "/x", name="t")
    clock.advance(10)
    trial = asyncio.create_task(line.call("POST", provider.url + "/hang", name="t"))
    while len(provider.reached) < 2:
        await asyncio.sleep(0.01)
    with pytest.raises(HeldBack):
        await line.call("POST", provider.url + "/x", name="t")
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    assert (await line.call("POST", provider.url + "/x", name="t")).status == 200
    assert line.breaker == "closed"


async def test_a_probe_neither_heeds_nor_moves_it(http: HttpClient, clock: ManualClock, provider: Provider) -> None:
    provider.script = [500] * 4
    line = line_to(http, clock, breaker_failures=2, breaker_seconds=10)
    with working(Urgency.PROBE):
        for _ in range(3):
            assert (await line.call("GET", provider.url + "/me", name="t")).status == 500
    assert line.breaker == "closed", "a probe is not repeated either: three calls were made"
    provider.script = [500] * 2
    for _ in range(2):
        await line.call("POST", provider.url + "/x", name="t")
    with working(Urgency.PROBE):
        assert (await line.call("GET", provider.url + "/me", name="t")).status == 200
    assert line.breaker == "open"


# -- the bulkhead ------------------------------------------------------------------------------------------------


async def test_a_hanging_provider_costs_only_its_own_calls(http: HttpClient, provider: Provider) -> None:
    clock = SystemClock()
    slow = Line("airtm", http, clock, LineOptions(places=4, queue_seconds=0.05))
    well = Line("stellar", http, clock, LineOptions(places=4))
    with working(Urgency.CRITICAL):
        hanging = [asyncio.create_task(slow.call("POST", provider.url + "/hang", name="t")) for _ in range(4)]
        while len(provider.reached) < 4:
            await asyncio.sleep(0.01)
        with pytest.raises(HeldBack) as caught:
            await slow.call("POST", provider.url + "/x", name="t")
    assert caught.value.reason == "no_place"
    for _ in range(20):
        assert (await well.call("POST", provider.url + "/well", name="t")).status == 200
    assert provider.reached.count("POST /x") == 0
    provider.release.set()
    assert [answer.status for answer in await asyncio.gather(*hanging)] == [200] * 4


async def test_a_hundred_hanging_calls_do_not_use_up_the_connections(http: HttpClient, provider: Provider) -> None:
    """aiohttp allows a hundred connections unless told otherwise, whoever they are with."""
    slow = Line("airtm", http, SystemClock(), LineOptions(places=150))
    with working(Urgency.CRITICAL):
        hanging = [asyncio.create_task(slow.call("GET", provider.url + "/hang", name="t")) for _ in range(120)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(provider.reached) < 120:
            await asyncio.sleep(0.01)
    answer = await http.call("GET", provider.url + "/well", name="t", timeout_seconds=10)
    assert answer.status == 200
    provider.release.set()
    await asyncio.gather(*hanging)


async def test_ordinary_calls_leave_places_for_critical_ones(http: HttpClient, provider: Provider) -> None:
    line = Line("airtm", http, SystemClock(), LineOptions(places=4, queue_seconds=0.05))
    hanging = [asyncio.create_task(line.call("GET", provider.url + "/hang", name="t")) for _ in range(3)]
    while len(provider.reached) < 3:
        await asyncio.sleep(0.01)
    with pytest.raises(HeldBack):
        await line.call("GET", provider.url + "/page", name="t")
    with working(Urgency.CRITICAL):
        assert (await line.call("GET", provider.url + "/evidence", name="t")).status == 200
    provider.release.set()
    await asyncio.gather(*hanging)


# -- the budget --------------------------------------------------------------------------------------------------


async def test_a_spent_budget_holds_back_and_sends_nothing(
    http: HttpClient, clock: ManualClock, provider: Provider
) -> None:
    budget = RequestBudget(clock, requests_max=2, window_seconds=60)
    line = Line("airtm", http, clock, LineOptions(queue_seconds=10), budget)
    with working(Urgency.CRITICAL):
        for _ in range(2):
            await line.call("POST", provider.url + "/x", name="t")
        with pytest.raises(HeldBack) as caught:
            await line.call("POST", provider.url + "/x", name="t")
    assert caught.value.reason == "budget_spent"
    assert len(provider.reached) == 2
    assert line.breaker == "closed"


async def test_what_the_breaker_refuses_costs_no_budget(
    http: HttpClient, clock: ManualClock, provider: Provider
) -> None:
    provider.script = [500]
    budget = RequestBudget(clock, requests_max=2, window_seconds=60)
    line = Line("airtm", http, clock, LineOptions(breaker_failures=1, breaker_seconds=5), budget)
    with working(Urgency.CRITICAL):
        await line.call("POST", provider.url + "/x", name="t")
        for _ in range(5):
            with pytest.raises(HeldBack):
                await line.call("POST", provider.url + "/x", name="t")
        clock.advance(5)
        assert (await line.call("POST", provider.url + "/x", name="t")).status == 200
    assert clock.monotonic() == 5
