"""Hostile clients against the server as it runs (reliability 2.10): none gets through, holds others up, or writes."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import pytest
from hostile_site import BODY_SECONDS, HEAD_SECONDS, Site

from offerhub.edge.application import BODY_BYTES_MAX_DEFAULT
from offerhub.edge.protocol import HEAD_BYTES_MAX
from support.long_runs import Tally
from support.raw_http import Line, Said, answers, request, spoken

HEALTH: Final = request("GET", "/health")
SLOW_CLIENTS: Final = 100
EMPTY: Final = b"0\r\n\r\n"
"""No chunk at all: for whoever goes by chunks, what follows is another request."""
CHUNKED: Final = "Transfer-Encoding: chunked"


@pytest.fixture(autouse=True)
async def unharmed(site: Site) -> AsyncIterator[None]:
    """After each test the service is healthy, nothing was written, the books hold, and nothing has failed inside."""
    before, printed = await site.shop.counts(), len(site.log())
    yield
    assert (await site.shop.using("").get("/health")).status == 200
    assert await site.shop.counts() == before
    await site.live.assert_books_hold()
    since = site.log()[printed:]
    assert "internal_error" not in since, since
    assert "Exception in ASGI application" not in since, since


def credential(site: Site) -> str:
    return f"Authorization: Bearer {site.shop.credential}"


def making(site: Site, *headers: str, body: bytes = b"") -> bytes:
    """A request that would make a user, were it ever understood."""
    return request("POST", "/api/v1/users", credential(site), "Content-Type: application/json", *headers, body=body)


BODY: Final = b'{"externalUserId":"smuggled"}'
LENGTH: Final = f"Content-Length: {len(BODY)}"


def assert_refused(heard: list[Said], name: str) -> None:
    """One answer, as every refusal looks, and nothing that tells what answers."""
    assert [said.status for said in heard] == [400], (name, heard)
    [said] = heard
    assert said.code == "VALIDATION_ERROR", name
    assert said.headers["content-type"] == "application/json"
    assert said.headers["connection"] == "close"
    assert said.headers["x-request-id"]
    assert not {"server", "date", "x-powered-by"} & set(said.headers)


# What is not HTTP/1.1, or not in one way only: each is refused whole, and what stands behind it is never run.
MALFORMED: Final[Mapping[str, Callable[[Site], bytes]]] = {
    "length and chunks": lambda site: making(site, LENGTH, CHUNKED, body=EMPTY + making(site, LENGTH, body=BODY)),
    "chunks and length": lambda site: making(site, CHUNKED, LENGTH, body=EMPTY + making(site, LENGTH, body=BODY)),
    "two lengths": lambda site: making(site, "Content-Length: 0", LENGTH, body=BODY),
    "two equal lengths": lambda site: making(site, LENGTH, LENGTH, body=BODY),
    "a list of lengths": lambda site: making(site, f"{LENGTH}, {len(BODY)}", body=BODY),
    "a negative length": lambda site: making(site, "Content-Length: -1", body=BODY),
    "a length with a sign": lambda site: making(site, f"Content-Length: +{len(BODY)}", body=BODY),
    "a hexadecimal length": lambda site: making(site, "Content-Length: 0x1d", body=BODY),
    "a length beyond all": lambda site: making(site, "Content-Length: " + "9" * 40, body=BODY),
    "chunks in other words": lambda site: making(site, "Transfer-Encoding: xchunked", body=BODY),
    "chunks, and then not": lambda site: making(site, "Transfer-Encoding: chunked, identity", body=BODY),
    "chunks behind a space": lambda site: making(site, "Transfer-Encoding : chunked", LENGTH, body=BODY),
    "chunks behind a vertical tab": lambda site: making(site, "Transfer-Encoding: \x0bchunked", LENGTH, body=BODY),
    "a folded header": lambda site: making(site, "X-A: b\r\n Transfer-Encoding: chunked", LENGTH, body=BODY).replace(
        b"X-A", b"\tX-A"
    ),
    "a header without a colon": lambda site: making(site, "nonsense", LENGTH, body=BODY),
    "a header without a name": lambda site: making(site, ": x", LENGTH, body=BODY),
    "a NUL in a header": lambda site: making(site, "X-A: a\0b", LENGTH, body=BODY),
    "a return in a header": lambda site: making(site, "X-A: a\rTransfer-Encoding: chunked", LENGTH, body=BODY),
    "a NUL in the path": lambda _: request("GET", "/health\0"),
    "a space in the path": lambda _: request("GET", "/health /x"),
    "no such method": lambda _: request("FETCH", "/health"),
    "a proxy's method": lambda _: request("CONNECT", "169.254.169.254:80"),
    "no version": lambda _: b"GET /health\r\n\r\n",
    "another version": lambda _: HEALTH.replace(b"HTTP/1.1", b"HTTP/3.0"),
    "HTTP/2's preface": lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\x12\4\0\0\0\0\0" + b"\0" * 18,
    "TLS": lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 500,
    "Redis": lambda _: b"*1\r\n$8\r\nFLUSHALL\r\n",
    "noise": lambda _: bytes(range(256)) * 8,
    "a larger head than any": lambda _: request("GET", "/health", "X-A: " + "a" * HEAD_BYTES_MAX),
    "a longer path than any": lambda _: request("GET", "/" + "a" * HEAD_BYTES_MAX),
    "ten thousand headers": lambda _: request("GET", "/health", *(f"X-{number}: a" for number in range(10_000))),
    "a head without an end": lambda _: request("GET", "/health", "X-A: " + "a" * 2_000_000)[:-4],
    "a chunk without a size": lambda site: making(site, CHUNKED, body=b"\r\n" + BODY),
    "a chunk of a negative size": lambda site: making(site, CHUNKED, body=b"-1\r\n" + BODY),
    "a chunk beyond all sizes": lambda site: making(site, CHUNKED, body=b"FFFFFFFFFFFFFFFFF\r\n" + BODY),
    "a chunk longer than it says": lambda site: making(site, CHUNKED, body=b"2\r\n" + BODY + b"\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_http_is_refused_and_the_connection_closed(site: Site, tally: Tally, name: str) -> None:
    assert_refused(await spoken(site.live.url, MALFORMED[name](site)), name)
    tally("hostile requests")


async def test_junk_behind_a_request_is_not_run_and_does_not_take_its_answer_away(site: Site, tally: Tally) -> None:
    for junk in (b"\0" * 1000, b"GET\r\n\r\n", making(site, LENGTH, LENGTH, body=BODY)):
        heard = await spoken(site.live.url, HEALTH + junk)
        assert heard[0].status == 200, junk[:40]
        assert [said.status for said in heard[1:]] in ([], [400])
        tally("hostile requests")
    # Any number of good ones are answered in their order.
    line = await Line.open(site.live.url)
    await line.send(b"".join(request("GET", f"/nowhere/{number}") for number in range(50)), request("GET", "/x y"))
    heard = answers(await line.rest())
    assert [said.status for said in heard[:50]] == [404] * 50
    tally("hostile requests", 51)


async def test_odd_but_good_requests_are_answered_alike(site: Site, tally: Tally) -> None:
    """What looks strange and is allowed: read in one way only, and the connection is closed where it must be."""
    padded = request("GET", "/health", *(f"X-{number}: {'a' * 95}" for number in range(100)))
    assert 10_000 < len(padded) < HEAD_BYTES_MAX
    h2c = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    websocket = request("GET", "/events", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
    cases = {
        "10 000 bytes of headers": (padded, 200),
        "an upgrade to HTTP/2": (request("GET", "/health", *h2c), 200),
        "a WebSocket": (websocket, 401),
        "HTTP/1.0": (HEALTH.replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
        "all of an URL": (request("GET", "http://169.254.169.254/health"), 200),
        "a path up": (request("GET", "/api/v1/../../health"), 404),
        "an encoded path up": (request("GET", "/api/v1/..%2f..%2fetc/passwd"), 404),
        "another host": (request("GET", "/health", "Host: evil.example", host=False), 200),
        "two keys of one request": (making(site, LENGTH, "Idempotency-Key: a", "Idempotency-Key: b", body=BODY), 400),
        "two credentials": (making(site, LENGTH, "Authorization: Bearer x", body=BODY), 401),
        "not UTF-8": (making(site, "Content-Length: 3", body=b'"\xff"'), 400),
        "a NUL": (making(site, "Content-Length: 29", body=b'{"externalUserId":"a\\u0000bc"}'[:29]), 400),
        "a chunk with an extension": (making(site, CHUNKED, body=b"2;a=b\r\n[]\r\n0\r\n\r\n"), 400),
        "a trailer": (making(site, CHUNKED, body=b"2\r\n[]\r\n0\r\nAuthorization: x\r\nX-A: b\r\n\r\n"), 400),
    }
    for name, (raw, status) in cases.items():
        # The client says that it is done, where we do not close anyway.
        ending = raw if b"Upgrade" in raw else raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        heard = await spoken(site.live.url, ending)
        assert [said.status for said in heard] == [status], (name, heard)
        tally("hostile requests")
    # A body behind an upgrade that is not made is the request's own.
    heard = await spoken(site.live.url, making(site, *h2c, "Content-Length: 1", body=b"["))
    assert [(said.status, said.code) for said in heard] == [(400, "VALIDATION_ERROR")]


AMOUNTS: Final = (
    "NaN",
    "Infinity",
    "1e400",
    "-0",
    "-0.0",
    "1E2",
    '"-0.00"',
    '"NaN"',
    '"1e2"',
    '"\\u0661.00"',
    "[[[1]]]",
)


async def test_amounts_that_are_none(site: Site, tally: Tally) -> None:
    for amount, path in itertools.product(AMOUNTS, ("/orders", "/withdrawals", "/topups")):
        raw = f'{{"amount":{amount},"userId":"usr_1","title":"t","buyer_id":"a","seller_id":"b"}}'.encode()
        heard = await site.shop.post(path, raw=raw)
        assert heard.status == 400, (path, amount, heard.body)
        tally("hostile requests")
    deep = b'{"a":' * 20_000
    assert (await site.shop.post("/orders", raw=deep)).code == "VALIDATION_ERROR"


async def test_large_bodies_are_not_read_to_their_end(site: Site, tally: Tally) -> None:
    ten = 10_000_000
    declared = making(site, f"Content-Length: {ten}")
    chunk = b"%x\r\n" % 65536 + b"a" * 65536 + b"\r\n"
    for parts in ((declared, b"a" * ten), (making(site, CHUNKED), *[chunk] * (ten // 65536))):
        line = await Line.open(site.live.url)
        sending = asyncio.create_task(line.send(*parts))
        head = await line.some(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413"), head
        line.writer.close()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        tally("hostile requests")
    # Of many tiny chunks as well as of a few large ones only so much counts.
    many = b"1\r\na\r\n" * (BODY_BYTES_MAX_DEFAULT + 1)
    line = await Line.open(site.live.url)
    await line.send(making(site, CHUNKED), many)
    assert (await line.some(b"\r\n\r\n")).startswith(b"HTTP/1.1 413")
    line.writer.close()
    tally("hostile requests")


async def test_whoever_sends_slowly_is_let_go_while_others_are_served(site: Site, tally: Tally) -> None:
    """Slow loris: a hundred connections that say nothing, or never come to their point."""

    async def dripping(first: bytes, drop: bytes) -> bytes:
        line = await Line.open(site.live.url)
        sending = asyncio.create_task(line.send(first, *[drop] * 1000, pause_seconds=0.05))
        heard = await line.rest()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return heard

    # Nothing at all, line ends only, half a request line, header after header, the second request of a connection.
    kinds = (
        (b"", b""),
        (b"", b"\r\n"),
        (b"GET /hea", b"l"),
        (b"GET / HTTP/1.1\r\n", b"X-A: b\r\n"),
        (HEALTH + b"GET /", b"x"),
    )
    slow = asyncio.gather(*(dripping(*kinds[number % len(kinds)]) for number in range(SLOW_CLIENTS)))
    line = await Line.open(site.live.url)
    await line.send(making(site, "Content-Length: 29", body=b"{"))
    bodies = asyncio.create_task(line.some(b"in time"))
    while not slow.done():
        assert (await site.shop.get("/users")).status == 200
    for number, heard in enumerate(await slow):
        assert [said.status for said in answers(heard)] == ([200] if number % len(kinds) == 4 else []), number
    assert (await bodies).startswith(b"HTTP/1.1 400")
    line.writer.close()
    tally("hostile requests", SLOW_CLIENTS + 1)
    assert HEAD_SECONDS < 15 > BODY_SECONDS, "what is set here is what is waited for"
