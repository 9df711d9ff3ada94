"""The HTTP client tells "certainly not sent" from "perhaps", and bounds what it reads."""

import asyncio
import socket
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from offerhub.runtime.http import GarbledAnswer, HttpClient, NoAnswer, NotSent, Response


class Outside:
    """A server that counts what reaches it and misbehaves by path."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.reached.append(request.path)
        match request.path:
            case "/slow":
                await asyncio.sleep(5)
            case "/reset":
                assert request.transport is not None
                request.transport.abort()
            case "/cut":
                response = web.StreamResponse(headers={"content-length": "100"})
                await response.prepare(request)
                await response.write(b"{")
                assert request.transport is not None
                request.transport.close()
                return response
            case "/large":
                return web.Response(body=b"x" * 5000)
            case "/moved":
                return web.Response(status=302, headers={"location": "/json"})
        body = b'{"amount": 25.1, "count": 3, "query": "%s"}' % request.query_string.encode()
        return web.Response(body=body, status=203, headers={"X-Kind": "Test"})


@pytest.fixture
async def outside() -> AsyncIterator[tuple[Outside, str]]:
    behaviour = Outside()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", behaviour.answer)
    server = TestServer(app)
    await server.start_server()
    yield behaviour, str(server.make_url("")).rstrip("/")
    await server.close()


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


async def test_an_answer_comes_whole(http: HttpClient, outside: tuple[Outside, str]) -> None:
    answer = await http.call("GET", outside[1] + "/json", name="t", query=[("a[]", "1"), ("a[]", "2")])
    assert answer.status == 203
    assert answer.headers["x-kind"] == "Test"
    assert answer.json() == {"amount": Decimal("25.1"), "count": 3, "query": "a[]=1&a[]=2"}


async def test_a_refused_connection_was_not_sent(http: HttpClient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        # Bound but not listening: connecting is refused.
        with pytest.raises(NotSent):
            await http.call("POST", f"http://127.0.0.1:{port}/", name="t", body=b"{}")


async def test_an_impossible_address_was_not_sent(http: HttpClient) -> None:
    with pytest.raises(NotSent):
        await http.call("GET", "http://", name="t")


@pytest.mark.parametrize("path", ["/slow", "/reset", "/cut"])
async def test_no_complete_answer_is_unknown_and_not_repeated(
    http: HttpClient, outside: tuple[Outside, str], path: str
) -> None:
    with pytest.raises(NoAnswer):
        await http.call("POST", outside[1] + path, name="t", body=b"{}", timeout_seconds=0.3)
    assert outside[0].reached == [path]


async def test_a_lost_kept_alive_connection_is_not_repeated_for_a_post(
    http: HttpClient, outside: tuple[Outside, str]
) -> None:
    await http.call("GET", outside[1] + "/json", name="t")
    with pytest.raises(NoAnswer):
        await http.call("POST", outside[1] + "/reset", name="t", body=b"{}")
    assert outside[0].reached == ["/json", "/reset"]


async def test_a_delete_is_never_certain_to_have_had_no_effect(
    http: HttpClient, outside: tuple[Outside, str]
) -> None:
    await http.call("GET", outside[1] + "/json", name="t")
    with pytest.raises(NoAnswer):
        await http.call("DELETE", outside[1] + "/reset", name="t")
    # Repeated by aiohttp, which is why a refused connection proves nothing.
    assert outside[0].reached == ["/json", "/reset", "/reset"]
    with pytest.raises(NoAnswer):
        await http.call("DELETE", "http://127.0.0.1:9/", name="t")


async def test_a_larger_answer_than_allowed_is_not_read(http: HttpClient, outside: tuple[Outside, str]) -> None:
    whole = await http.call("GET", outside[1] + "/large", name="t", response_bytes_max=5000)
    assert len(whole.body) == 5000
    with pytest.raises(NoAnswer, match="4999"):
        await http.call("GET", outside[1] + "/large", name="t", response_bytes_max=4999)


async def test_a_redirect_is_not_followed(http: HttpClient, outside: tuple[Outside, str]) -> None:
    assert (await http.call("GET", outside[1] + "/moved", name="t")).status == 302
    assert outside[0].reached == ["/moved"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"<html>", b'{"a": NaN}', b"1e99999999999999999999", b"\xff", b"[" * 200_000]
)
def test_what_is_not_json_is_garbled(body: bytes) -> None:
    with pytest.raises(GarbledAnswer):
        Response(200, {}, body).json()


async def test_the_hook_sees_every_call(outside: tuple[Outside, str]) -> None:
    class Hook:
        seen: list[str]

        def __init__(self) -> None:
            self.seen = []

        def before(self, name: str) -> None:
            self.seen.append(f"before {name}")

        def after(self, name: str) -> None:
            self.seen.append(f"after {name}")

    hook = Hook()
    async with HttpClient(hook) as client:
        await client.call("GET", outside[1] + "/json", name="one")
        with pytest.raises(NoAnswer):
            await client.call("POST", outside[1] + "/reset", name="two")
    assert hook.seen == ["before one", "after one", "before two"]
