"""The edge behind the real server: what only a socket can show."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import uvicorn
from edge_fixture import Stage


@pytest.fixture
async def url(stage: Stage) -> AsyncIterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    config = uvicorn.Config(stage.application(), lifespan="on", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await serving
    listening.close()


async def test_a_request_over_a_socket(stage: Stage, url: str) -> None:
    headers = {"x-api-key": stage.credential("read", "write")}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(f"{url}/api/v1/things", json={"name": "x"}) as answer:
            assert answer.status == 201
            assert (await answer.json())["data"]["id"] == "thing"
        async with session.head(f"{url}/data") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert int(answer.headers["content-length"]) > 0
        async with session.get(f"{url}/things/%E2%82%AC%2Fx") as answer:
            assert answer.status == 404


async def test_a_body_without_a_length_is_limited(stage: Stage, url: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 50_000

    headers = {"x-api-key": stage.credential("write"), "content-type": "application/json"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{url}/optional", data=endless()) as answer,
    ):
        assert answer.status == 413
        assert (await answer.json())["error"]["code"] == "PAYLOAD_TOO_LARGE"
