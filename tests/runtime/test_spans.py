"""Spans: what they say, that they say nothing else, and that they cost nothing where nobody wants them."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from offerhub.parts import NoTraces, traced
from offerhub.runtime import spans
from offerhub.runtime.database import Database
from offerhub.runtime.http import HttpClient, NotSent
from offerhub.runtime.span_export import FLUSH_SECONDS_MAX
from offerhub.settings import Settings, load
from support.canaries import canary
from support.collector import Collector, Got
from support.outside import PATIENCE_SECONDS


def collected(url: str) -> Settings:
    """The settings of who has a collector."""
    return load({"OFFERHUB_MASTER_KEY": "a-master-key", "OTEL_EXPORTER_OTLP_ENDPOINT": url})


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    with found.listening():
        yield found


@pytest.fixture
async def exported(collector: Collector) -> AsyncIterator[Collector]:
    async with traced(collected(collector.url)):
        yield collector


def request(traceparent: str | None = None) -> "spans.AbstractContextManager[spans.Span]":
    assert spans.active is not None
    return spans.request(spans.active, "GET", "/x", "request-1", traceparent)


def of_requests(found: list[Got]) -> list[Got]:
    """Without what another file's product goes on with in this process, such as its deliveries."""
    traces = {span.trace for span in found if span.kind == "SERVER"}
    return [span for span in found if span.trace in traces]


async def test_an_error_leaves_its_type_and_no_word(exported: Collector) -> None:
    secret = canary("error")
    with pytest.raises(ValueError, match="canary"), request(), spans.step("escrow.fund", "fund"):
        raise ValueError(secret)
    found = of_requests(await exported.until(lambda found: len(of_requests(found)) == 2))
    assert [(span.failed, span.said["error.type"], span.told) for span in found] == [(True, "ValueError", "")] * 2
    assert not any(secret.encode() in body for body in exported.bodies)


async def test_a_statement_says_what_it_does_and_not_with_what(exported: Collector, fresh_database_url: str) -> None:
    secret = canary("parameter")
    database = await Database.connect(fresh_database_url)
    try:
        with request():
            found = await database.run(lambda tx: tx.value("SELECT id FROM orders WHERE id = $1", secret))
            assert found is None
            await database.run(lambda tx: tx.execute(f"SELECT set_config('offerhub.x', '{secret}', true)"))
    finally:
        await database.close()
    seen = of_requests(await exported.until(lambda found: bool(of_requests(found))))
    assert [span.name for span in seen] == [
        *("BEGIN", "SELECT orders", "COMMIT"),
        *("BEGIN", "SELECT set_config", "COMMIT"),
        "GET",
    ]
    assert not any(secret.encode() in body for body in exported.bodies)


async def test_what_belongs_to_nothing_traced_makes_no_span(exported: Collector, fresh_database_url: str) -> None:
    database = await Database.connect(fresh_database_url)
    try:
        with request():
            pass
        await database.run(lambda tx: tx.value("SELECT 1"))
    finally:
        await database.close()
    with request():
        pass
    seen = await exported.until(lambda found: len(of_requests(found)) > 1)
    assert [span.name for span in of_requests(seen)] == ["GET", "GET"]
    assert not [span.name for span in seen if span.kind == "CLIENT" and not span.parent]


async def test_a_call_names_the_host_and_neither_path_nor_query_nor_header(exported: Collector) -> None:
    secret = canary("call")
    got: list[dict[str, str]] = []

    async def answer(asked: web.Request) -> web.Response:
        got.append({name.lower(): value for name, value in asked.headers.items()})
        return web.Response(status=503, text=secret)

    application = web.Application()
    application.router.add_post("/{tail:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with HttpClient() as client:
            with request():
                await client.call(
                    "POST",
                    f"http://127.0.0.1:{port}/{secret}",
                    name="airtm.pay",
                    headers={"x-key": secret},
                    query=[("key", secret)],
                    body=secret.encode(),
                )
                with pytest.raises(NotSent):
                    await client.call("GET", "http://127.0.0.1:9/", name="horizon.account")
    finally:
        await runner.cleanup()
    seen = of_requests(await exported.until(lambda found: bool(of_requests(found))))
    paid, lost = seen[:2]
    assert (paid.name, paid.kind, paid.failed) == ("POST airtm.pay", "CLIENT", True)
    assert paid.said == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": port,
        "offerhub.call": "airtm.pay",
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert (lost.name, lost.said["error.type"]) == ("GET horizon.account", "NotSent")
    assert not any(secret.encode() in body for body in exported.bodies)
    assert "traceparent" not in got[0], "providers are told nothing of our traces"


@pytest.mark.parametrize("text", [None, "", "nonsense", "[]", "{}", '{"traceparent": 7}', 7])
def test_what_others_keep_beside_a_job_is_no_trace(text: object) -> None:
    assert spans.from_metadata(text) is None


def test_without_traces_a_job_keeps_the_trace_it_came_with() -> None:
    assert spans.active is None
    given = f"00-{'a' * 32}-{'b' * 16}-01"
    assert spans.metadata(None) == {}
    assert spans.from_metadata(spans.metadata(given)["tm"]) == given
    assert spans.carried() == {}


async def test_a_collector_that_hangs_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        loop = asyncio.get_running_loop()
        async with traced(collected(f"http://127.0.0.1:{deaf.getsockname()[1]}")):
            with request():
                pass
            began = loop.time()
        assert loop.time() - began < FLUSH_SECONDS_MAX + PATIENCE_SECONDS / 2
        assert spans.active is None
        [flush] = [thread for thread in threading.enumerate() if thread.name == "last spans"]
        assert flush.daemon
    await asyncio.to_thread(flush.join, PATIENCE_SECONDS)


async def test_without_the_package_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "offerhub.runtime.span_export", None)
    with pytest.raises(NoTraces, match=r"offerhub\[otel\]"):
        async with traced(collected("http://127.0.0.1:9")):
            pass


def test_nothing_of_it_is_imported_where_it_is_off() -> None:
    program = (
        "import asyncio, json, sys\n"
        "import offerhub.cli.serve, offerhub.worker\n"
        "from offerhub.parts import traced\n"
        "from offerhub.settings import load\n"
        "async def run():\n"
        "    async with traced(load({'OFFERHUB_MASTER_KEY': 'x', 'OTEL_SERVICE_NAME': 'x'})):\n"
        "        pass\n"
        "asyncio.run(run())\n"
        # Not all of opentelemetry: the client of Redis looks for its metrics where it is installed.
        "theirs = ('offerhub.runtime.span_export', 'opentelemetry.sdk.trace', 'opentelemetry.exporter', 'google')\n"
        "print(json.dumps([name for name in sys.modules if name.startswith(theirs)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == []
