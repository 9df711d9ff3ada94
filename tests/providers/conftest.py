"""A scripted outside: a local HTTP server that answers what a test put there, and keeps what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from offerhub.runtime.http import HttpClient


@dataclass
class Asked:
    """One request that arrived. `raw_path` is as it was sent, `path` decoded."""

    method: str
    path: str
    raw_path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class Script:
    """What to answer by path: (status, body). A body that is not bytes becomes JSON.

    `HANG_UP` cuts the line, `STALL` keeps it open and silent.
    """

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        headers = {key.lower(): value for key, value in request.headers.items()}
        query = list(request.query.items())
        self.asked.append(Asked(request.method, request.path, request.raw_path, query, headers, await request.read()))
        status, body = self.answers.get(request.path, (404, {"type": "not_found", "status": 404}))
        if body is HANG_UP:
            assert request.transport is not None
            request.transport.abort()
        if body is STALL:
            await asyncio.sleep(30)
        if isinstance(body, bytes):
            return web.Response(status=status, body=body, headers=self.headers)
        return web.json_response(body, status=status, headers=self.headers)


HANG_UP = object()
STALL = object()


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    script = Script()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", script.answer)
    server = TestServer(app)
    await server.start_server()
    script.url = str(server.make_url("")).rstrip("/")
    yield script
    await server.close()


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


@pytest.fixture
def hang_up() -> object:
    return HANG_UP


@pytest.fixture
def stall() -> object:
    return STALL
