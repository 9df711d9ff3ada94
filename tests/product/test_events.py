"""Event streams as clients meet them (contract 2.12): frames, filters, resuming, and how a stream ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from redis.asyncio import Redis

from offerhub.events.journal import Event, record
from offerhub.kernel.ids import new_id
from offerhub.runtime.actor import system
from support.outside import PATIENCE_SECONDS, World
from support.own_redis import OwnRedis
from support.product import Marketplace, Running, running
from support.sse import follow

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "private, no-cache, no-store, must-revalidate, max-age=0, no-transform",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
}


async def write(shop: Marketplace, *marks: int, name: str = "order.created", live: Running | None = None) -> None:
    """An event for each mark, all in one transaction."""
    actor = system(shop.id, "test")
    events = [Event(name, "Order", new_id("ord"), {"mark": mark}) for mark in marks]
    await (live or shop.live).product.database.run(lambda tx: record(tx, actor, events=events))


def marks(frames: list[Any]) -> list[int]:
    return [frame.data["payload"]["mark"] for frame in frames]


async def test_a_frame_is_what_the_contract_says(shop: Marketplace, http: aiohttp.ClientSession) -> None:
    async with follow(http, shop.live.url, shop.credential) as stream:
        assert {name: stream.response.headers[name] for name in HEADERS} == HEADERS
        assert await stream.response.content.readline() == b"\n"
        made = await shop.done("POST", "/users", {"externalUserId": "sse-1"}, status=201)
        (frame,) = await stream.take(1)
        assert frame.raw == (
            f"id: {frame.data['occurredAt']}\nevent: user.created\ndata: ".encode()
            + json.dumps(frame.data, separators=(",", ":")).encode()
            + b"\n"
        ) or frame.raw.startswith(f"id: {frame.data['occurredAt']}\nevent: user.created\ndata: ".encode())
        assert set(frame.data) == {
            "eventId", "eventType", "occurredAt", "aggregateId", "aggregateType", "payload", "metadata"
        }  # fmt: skip
        assert frame.data["aggregateId"] == made["id"]
        assert frame.data["metadata"]["marketplaceId"] == shop.id
    (logged,) = (await shop.get(f"/events/log?resourceId={made['id']}&types=user.created")).data
    assert logged == frame.data


async def test_a_stream_is_of_one_marketplace_and_of_what_was_asked_for(
    live: Running, world: World, http: aiohttp.ClientSession
) -> None:
    ours, theirs = [await Marketplace.found(live, world, http) for _ in range(2)]
    await write(theirs, 1)
    query = "since=0&types=order.c*,dispute.opened&named=false&resources=Order"
    async with follow(http, live.url, ours.credential, query) as stream:
        await write(theirs, 2)
        await write(ours, 3, name="order.disputed")
        await write(ours, 4, name="order.closed")
        await write(theirs, 5)
        await write(ours, 6, name="order.canceled")
        frames = await stream.take(2)
    assert marks(frames) == [4, 6]
    assert {frame.event for frame in frames} == {None}
    user = await ours.done("POST", "/users", {"externalUserId": "bound"}, status=201)
    bound = await ours.with_key("read", userId=user["id"])
    await ours.done("POST", f"/users/{user['id']}/balance/credit", {"amount": "1.00"})
    async with follow(http, live.url, bound.credential, "cursor=1970-01-01") as stream:
        names = [frame.event for frame in await stream.until(lambda frame: frame.event == "balance.credited")]
    assert "user.created" in names
    assert not {name for name in names if name is not None and name.startswith("order.")}


async def test_whoever_comes_back_misses_nothing_and_hears_nothing_twice(
    shop: Marketplace, http: aiohttp.ClientSession
) -> None:
    """Events go on while the client is away, while it reads what it has missed, and while it changes over."""
    total = 600
    await write(shop, -1)
    last = (await shop.get("/events/log?limit=500")).json["pagination"]["nextCursor"]

    async def writer() -> None:
        for first in range(0, total, 20):
            await write(shop, *range(first, first + 20), name="order.closed")

    writing = asyncio.create_task(writer())
    heard: list[int] = []
    while len(heard) < total:
        async with follow(http, shop.live.url, shop.credential, "types=order.closed", last) as stream:
            heard += marks(await stream.take(min(97, total - len(heard))))
            last = stream.last_id
    await writing
    assert heard == list(range(total))
    by_id = (await shop.get("/events/log?types=order.closed&limit=500")).data[10]["eventId"]
    async with follow(http, shop.live.url, shop.credential, "types=order.closed", by_id) as stream:
        assert marks(await stream.take(3)) == [11, 12, 13]
    async with follow(http, shop.live.url, shop.credential, "types=order.closed", "no cursor at all") as stream:
        await write(shop, 999, name="order.closed")
        assert marks(await stream.take(1)) == [999]


async def test_a_stream_ends_when_its_key_is_revoked(shop: Marketplace, http: aiohttp.ClientSession) -> None:
    reader = await shop.with_key("events.read")
    key_id = reader.credential.split("_")[2] + "_" + reader.credential.split("_")[3]
    async with follow(http, shop.live.url, reader.credential, "types=order.*") as stream:
        await write(shop, 1)
        await stream.take(1)
        assert (await shop.send("DELETE", f"/auth/api-keys/{key_id}")).status == 200
        async with asyncio.timeout(PATIENCE_SECONDS):
            end = await stream.next()
            assert end is not None
            assert (end.event, end.data) == ("end", {"reason": "revoked", "cursor": stream.last_id})
            assert await stream.next() is None


async def test_a_key_without_the_scope_and_misspelt_filters_are_refused(shop: Marketplace) -> None:
    assert (await (await shop.with_key("write")).get("/events")).code == "INSUFFICIENT_SCOPE"
    for wrong in ("types=order.creatd", "resources=Orders", "unknown=1"):
        assert (await shop.get(f"/events?{wrong}")).code == "VALIDATION_ERROR"
    assert (await shop.send("HEAD", "/events")).status == 200


@pytest.fixture
async def two(
    office_environ: dict[str, str], own_redis: OwnRedis, world: World, http: aiohttp.ClientSession
) -> AsyncIterator[tuple[Marketplace, Running]]:
    """Two processes of one installation: a marketplace on the first, and the second."""
    await own_redis.start()
    tight = {
        **office_environ,
        "REDIS_URL": own_redis.url,
        "EVENTS_HEARTBEAT_SECONDS": "0.2",
        "EVENTS_BUFFER": "100",
        "EVENTS_STREAMS_PER_CREDENTIAL": "2",
        "EVENTS_POLL_SECONDS": "0.3",
    }
    async with running(tight) as first, running(tight, jobs=False) as second:
        yield await Marketplace.found(first, world, http), second


async def test_processes_tell_the_same_and_redis_is_not_needed(
    two: tuple[Marketplace, Running], own_redis: OwnRedis, http: aiohttp.ClientSession
) -> None:
    shop, second = two
    query = "types=order.created"
    async with (
        follow(http, shop.live.url, shop.credential, query) as here,
        follow(http, second.url, shop.credential, query) as there,
    ):
        written = 0

        async def both_hear(count: int, *writers: Running) -> None:
            nonlocal written
            for mark in range(written, written + count):
                await write(shop, mark, live=writers[mark % len(writers)])
            expected = list(range(written, written + count))
            written += count
            assert marks(await here.take(count)) == expected
            assert marks(await there.take(count)) == expected

        await both_hear(20, shop.live, second)
        client = Redis.from_url(own_redis.url)
        await client.flushall()
        await client.aclose()
        await both_hear(20, shop.live, second)
        await own_redis.stop()
        await both_hear(20, shop.live, second)
        # Where nothing happens by itself, and nobody rings.
        await both_hear(1, shop.live)
        await both_hear(1, second)
        ping = await here.next()
        assert ping is not None
        assert (ping.event, ping.id, ping.data["ping"]) == ("ping", None, True)
        assert [frame.raw for frame in here.frames if frame.id] == [frame.raw for frame in there.frames if frame.id]
        third = await http.get(f"{second.url}/events", headers={"authorization": f"Bearer {shop.credential}"})
        assert third.status == 200
        async with http.get(f"{second.url}/events", headers={"authorization": f"Bearer {shop.credential}"}) as fourth:
            assert (fourth.status, (await fourth.json())["error"]["code"]) == (429, "TOO_MANY_STREAMS")
        third.close()


async def test_a_client_that_does_not_read_is_let_go_and_comes_back(
    two: tuple[Marketplace, Running], http: aiohttp.ClientSession
) -> None:
    shop, _ = two
    place = urlsplit(shop.live.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1024)
    head = f"GET /events?types=order.created HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {shop.credential}\r\n\r\n"
    writer.write(head.encode())
    await reader.readuntil(b"retry:")
    feed, streams = shop.live.product.feed, shop.live.product.streams
    async with follow(http, shop.live.url, shop.credential, "types=order.created") as quick:
        written = 0
        async with asyncio.timeout(60):
            while feed.counts.slow == 0:
                await write(shop, *range(written, written + 50))
                await quick.take(50)
                written += 50
            while len(streams) > 1:  # its connection is cut
                await asyncio.sleep(0.05)
    writer.close()
    async with follow(http, shop.live.url, shop.credential, "since=0&types=order.created") as again:
        assert marks(await again.take(written)) == list(range(written))


async def test_a_service_that_stops_says_so(
    office_environ: dict[str, str], world: World, http: aiohttp.ClientSession
) -> None:
    async with running(office_environ, jobs=False) as live:
        shop = await Marketplace.found(live, world, http)
        opened = follow(http, live.url, shop.credential, "types=order.*")
        stream = await opened.__aenter__()
        await write(shop, 1)
        await stream.take(1)
    end = await stream.next()
    assert end is not None
    assert (end.event, end.data["reason"], end.data["cursor"]) == ("end", "shutdown", stream.last_id)
    assert stream.retry is not None
    assert await stream.next() is None
    await opened.__aexit__(None, None, None)
