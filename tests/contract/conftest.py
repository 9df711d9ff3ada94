"""One product for the suite, and an ear on the wire: what every answer must carry, and what each test has heard."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import aiohttp
import pytest

from offerhub.edge.table import RouteTable
from offerhub.errors import Refusal
from product.conftest import _books_hold
from support.routes import all_routes

__all__ = ["_books_hold"]

BASE = "/api/v1"
TABLE = RouteTable(all_routes())
SECURITY = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
DOCUMENTS = ("/docs", "/openapi.json", "/metrics")


def pytest_configure(config: pytest.Config) -> None:
    """Two marks that are held to what was heard."""
    config.addinivalue_line("markers", "claims(*routes): the test gets an answer of success from each of them")
    config.addinivalue_line("markers", "provokes(*codes): the test is refused with each of them")


@dataclass
class Ear:
    """What one test has heard."""

    done: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)


def route_of(method: str, path: str) -> str | None:
    """The declared route behind a request, as `POST /orders/{order_id}/reserve`."""
    try:
        route, _ = TABLE.find("GET" if method == "HEAD" else method, path.removeprefix(BASE))
    except Refusal:
        return None
    return f"{route.method} {route.path}"


def judge(method: str, answer: aiohttp.ClientResponse, body: bytes) -> None:
    """What the contract says of every answer (1.1, 1.3, 1.4)."""
    path, headers = answer.url.path, answer.headers
    assert headers["x-request-id"]
    assert answer.status != 204
    if path.removeprefix(BASE) in DOCUMENTS:
        return
    assert {name: headers.get(name) for name in SECURITY} == SECURITY
    if method == "HEAD" or answer.status == 302:
        return
    assert headers["content-type"] == "application/json"
    found = json.loads(body)
    if answer.status < 400:
        assert {"data", "meta"} <= set(found)
    else:
        assert set(found) == {"error"}
        assert set(found["error"]) == {"code", "message", "details"}
        assert found["error"]["details"]["requestId"] == headers["x-request-id"] or "idempotency-replay" in headers


@pytest.fixture(scope="session")
async def wire(sandbox_environ: dict[str, str]) -> AsyncIterator[tuple[aiohttp.ClientSession, list[Ear]]]:
    """The clients' connections, and the ear that listens just now."""
    ears = [Ear()]
    theirs = sandbox_environ["OFFERHUB_SANDBOX_URL"]

    async def heard(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
        if str(params.url).startswith(theirs):
            return
        if params.response.content_type == "text/event-stream":
            ears[0].done.add(str(route_of(params.method, params.url.path)))
            return
        body = await params.response.read()
        judge(params.method, params.response, body)
        if params.response.status < 400:
            ears[0].done.add(str(route_of(params.method, params.url.path)))
        else:
            ears[0].codes.add(json.loads(body)["error"]["code"])

    listening = aiohttp.TraceConfig()
    listening.on_request_end.append(heard)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[listening]) as session:
        yield session, ears


@pytest.fixture(scope="session")
def http(wire: tuple[aiohttp.ClientSession, list[Ear]]) -> aiohttp.ClientSession:
    """The clients' connections."""
    return wire[0]


@pytest.fixture(autouse=True)
def ear(request: pytest.FixtureRequest, wire: tuple[aiohttp.ClientSession, list[Ear]]) -> Iterator[Ear]:
    """What this test hears; its marks are held to it."""
    listening = wire[1][0] = Ear()
    yield listening
    claimed = {route for mark in request.node.iter_markers("claims") for route in mark.args}
    assert claimed <= listening.done, f"claimed and not done: {claimed - listening.done}"
    provoked = {code for mark in request.node.iter_markers("provokes") for code in mark.args}
    assert provoked <= listening.codes, f"named and not provoked: {provoked - listening.codes}"
