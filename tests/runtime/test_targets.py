"""The guard before addresses that strangers name: nothing of ours can be reached, however the address is written."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from offerhub.runtime.http import HttpClient, NotSent
from offerhub.runtime.targets import Targets, is_public

OURS = (
    *("127.0.0.1", "127.8.8.8", "0.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "255.255.255.255"),
    *("192.88.99.1", "240.0.0.1", "::", "::1", "::7f00:1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0"),
    *("fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
    *("64:ff9b:1::1", "2002:7f00:1::", "2002:c0a8:101::1", "2001:0:53aa:64c::", "2001:db8::1", "3fff::1", "100::1"),
    *("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", ""),
)
THEIRS = ("1.1.1.1", "93.184.215.14", "172.32.0.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")


@pytest.mark.parametrize("address", OURS)
def test_an_address_of_ours_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", THEIRS)
def test_an_address_on_the_internet_is(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://example.com/hook", None),
        ("https://example.com:8443/hook?a=b", None),
        ("http://example.com/hook", "https"),
        ("https://example.com:22/", "port"),
        ("https://example.com:80/", "port"),
        ("https://user:password@example.com/", "user"),
        ("https://user@example.com/", "user"),
        ("https://example.com/#part", "fragment"),
        ("https://localhost/", "private"),
        ("https://LOCALHOST./", "private"),
        ("https://metadata.google.internal/", "private"),
        ("https://10.0.0.1/", "public Internet"),
        ("https://[::ffff:169.254.169.254]/", "public Internet"),
        ("https://2130706433/", "public Internet"),
        ("https://①②⑦.0.0.1/", "public Internet"),
        ("ftp://example.com/", "not an absolute URL"),
        ("//example.com/", "not an absolute URL"),
        ("https:///hook", "not an absolute URL"),
        ("https://exa mple.com/", "not an absolute URL"),
        ("https://example.com/\x00", "not an absolute URL"),
        ("https://example.com/" + "a" * 2000, "characters"),
    ],
)
def test_a_url_is_refused_before_anything_is_looked_up(url: str, reason: str | None) -> None:
    found = Targets(public_only=True).refusal(url)
    assert found is None if reason is None else found is not None and reason in found


@pytest.fixture
async def inside() -> AsyncIterator[tuple[int, list[str]]]:
    """A server that only we can reach, and what reached it."""
    reached: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.Response(text="secret")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    assert server.port is not None
    yield server.port, reached
    await server.close()


SPELLINGS = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0", "0x7f.1")


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_reaches_this_machine(inside: tuple[int, list[str]], host: str) -> None:
    """At the socket, where no check of a URL has come before."""
    port, reached = inside
    async with HttpClient(targets=Targets(public_only=True)) as http:
        with pytest.raises(NotSent):
            await http.call("POST", f"http://{host}:{port}/", name="test", timeout_seconds=5)
    assert reached == []


async def test_where_anything_is_allowed_it_is_reached(inside: tuple[int, list[str]]) -> None:
    port, reached = inside
    async with HttpClient(targets=Targets(public_only=False)) as http:
        answer = await http.call("POST", f"http://127.0.0.1:{port}/x", name="test", response_bytes_max=3, cut=True)
    assert (answer.body, answer.is_cut, reached) == (b"sec", True, ["/x"])


@pytest.mark.parametrize("rebound", ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "::1"])
async def test_a_name_that_changes_its_address_gains_nothing(
    inside: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch, rebound: str
) -> None:
    """Public at the first look, ours at the second: it is the second that is connected to, and it is refused."""
    port, reached = inside
    looks = iter(["93.184.215.14", rebound, rebound, rebound])

    def answering(address: Callable[[], str]) -> Any:
        async def getaddrinfo(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
            found = address()
            family = socket.AF_INET6 if ":" in found else socket.AF_INET
            rest = (0, 0) if ":" in found else ()
            return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (found, port, *rest))]

        return getaddrinfo

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", answering(lambda: next(looks)))
    first = await loop.getaddrinfo("rebind.example.com", port)
    assert is_public(first[0][4][0])
    async with HttpClient(targets=Targets(public_only=True)) as http:
        with pytest.raises(NotSent, match="not on the public Internet"):
            await http.call("POST", f"http://rebind.example.com:{port}/", name="test", timeout_seconds=5)
    assert reached == []
