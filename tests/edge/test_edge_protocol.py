"""What a connection may cost: time, memory and files, whatever its client does or leaves undone."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from edge_fixture import Stage

from offerhub.edge import protocol
from offerhub.edge.protocol import Limits, limited
from support.outside import eventually
from support.raw_http import Line, answers, request

SOON = 0.2


@asynccontextmanager
async def served(app: Any, *, keep_alive: int = 75, **limits: Any) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """The application behind a server with these limits."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=limited(Limits(**limits)),
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=keep_alive,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", server
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def test_a_body_that_nobody_wants_is_read_for_a_while_only(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long enough for an honest client to come to the answer; one that never ends is cut off."""
    monkeypatch.setattr(protocol, "REST_SECONDS_MAX", SOON)
    async with served(stage.application()) as (url, server):
        line = await Line.open(url)
        head = request("POST", "/things", "Content-Type: application/json", "Transfer-Encoding: chunked")
        sending = asyncio.create_task(line.send(head, *[b"1\r\na\r\n"] * 10_000, pause_seconds=0.01))
        [refused] = answers(await line.rest())
        assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
        await sending
        # One that ends may have the connection for its next request.
        line = await Line.open(url)
        body = b"a" * 200_000
        await line.send(
            request("POST", "/things", f"Content-Length: {len(body)}", body=body), request("GET", "/open")
        )
        await line.send(b"no HTTP\r\n\r\n")
        assert [said.status for said in answers(await line.rest())] == [401, 200], "nonsense ends it"
        await eventually(lambda: count(server), lambda left: left == 0)


async def count(server: uvicorn.Server) -> int:
    return len(server.server_state.connections)


async def test_an_idle_connection_is_kept_and_then_closed(stage: Stage) -> None:
    async with served(stage.application(), keep_alive=1, head_seconds=0.3) as (url, _):
        line = await Line.open(url)
        await line.send(request("GET", "/open"), pause_seconds=0.6)
        await line.send(request("GET", "/open"))
        # Line ends are no request, and no reason to wait longer.
        await line.send(*[b"\r\n"] * 100, pause_seconds=0.03)
        assert [said.status for said in answers(await line.rest(seconds=5))] == [200, 200]


async def test_what_is_not_read_is_not_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNREAD_SECONDS_MAX", SOON)
    stage.result = {"id": "x" * 1_000_000}
    async with served(stage.application()) as (url, server):
        line = await Line.open(url)
        asked = request("GET", "/open")
        await line.send(*[asked] * 30)
        await eventually(lambda: count(server), lambda there: there == 1)
        await eventually(lambda: count(server), lambda left: left == 0)
        assert len(await line.rest()) < 30 * 1_000_000, "it was cut off"
        quick = await Line.open(url)
        await quick.send(asked * 3, request("GET", "/x y"))
        assert [said.status for said in answers(await quick.rest())] == [200] * 3


async def test_connections_leave_files_to_open(stage: Stage) -> None:
    async with served(stage.application(), connections_max=3) as (url, server):
        held = [await Line.open(url) for _ in range(3)]
        await eventually(lambda: count(server), lambda found: found == 3)
        assert await (await Line.open(url)).rest() == b""
        await held[0].send(request("GET", "/open", "Connection: close"))
        assert [said.status for said in answers(await held[0].rest())] == [200]
        await eventually(lambda: count(server), lambda found: found == 2)
        again = await Line.open(url)
        await again.send(request("GET", "/open", "Connection: close"))
        assert [said.status for said in answers(await again.rest())] == [200]
        for line in held[1:]:
            line.writer.close()


async def test_nonsense_behind_a_request_waits_for_its_answer(stage: Stage) -> None:
    """The request before it is whole and has its effect: its answer is not lost, and it is the last one."""
    stage.proceed.clear()
    async with served(stage.application()) as (url, _):
        line = await Line.open(url)
        key = f"x-api-key: {stage.credential('write')}"
        await line.send(request("POST", "/bare", key), b"no HTTP\r\n\r\n", b"more of it")
        await stage.entered.wait()
        stage.proceed.set()
        [said] = answers(await line.rest())
        assert (said.status, said.headers["connection"]) == (200, "close")
        assert await stage.effects() == 1
