"""`make bench-streams`: many subscribers of `GET /events`, each of which must get every event once and in order.

The service runs in production mode with its background work. Events are written by the API itself, a credit each.
Every stream hashes the frames of its events, all must come to the same hash, and the first stream's events must be
those of the log, read page by page. Prints a table, and leaves the figures as JSON in `bench/results/`.
"""

import argparse
import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp

from stage import Stage, stage

RESULTS: Final = Path(__file__).parent / "results" / "streams.json"
TYPES: Final = "balance.*"
WRITERS: Final = 16
READY_SECONDS: Final = 60
PATIENCE_SECONDS: Final = 300
PAGE: Final = 500


@dataclass(slots=True)
class Stream:
    """What one subscriber has got: how many events, and the hash of their data in the order of their coming."""

    events: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    ended_at: float = 0.0
    kept: list[bytes] | None = None
    _rest: bytes = b""

    def take(self, data: bytes) -> None:
        """Count the frames that are events."""
        *frames, self._rest = (self._rest + data).split(b"\n\n")
        for frame in frames:
            if frame.lstrip(b"\n").startswith(b"id: "):
                self.events += 1
                self.digest.update(frame)
                if self.kept is not None:
                    self.kept.append(frame)


def resident_bytes(pid: int) -> int:
    """The memory that a process holds."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * 4096


async def _follow(http: aiohttp.ClientSession, stream: Stream, expected: int, opened: asyncio.Semaphore) -> None:
    async with http.get("/api/v1/events", params={"types": TYPES}) as answer:
        assert answer.status == 200, await answer.text()
        opened.release()
        async for data in answer.content.iter_any():
            stream.take(data)
            if stream.events >= expected:
                stream.ended_at = time.perf_counter()
                return
    raise AssertionError(f"a stream ended after {stream.events} events")


async def _write(http: aiohttp.ClientSession, users: Iterator[str]) -> None:
    for user in users:
        async with http.post(f"/api/v1/users/{user}/balance/credit", json={"amount": "1.00"}) as answer:
            assert answer.status == 200, await answer.text()


async def _log(http: aiohttp.ClientSession, begin: str) -> list[Any]:
    """The events that the log has behind a moment."""
    found: list[Any] = []
    cursor, more = begin, True
    while more:
        query = {"types": TYPES, "cursor": cursor, "limit": PAGE}
        async with http.get("/api/v1/events/log", params=query) as answer:
            page = await answer.json()
        found += page["data"]
        cursor, more = page["pagination"]["nextCursor"], page["pagination"]["hasMore"]
    return found


async def measure(on: Stage, subscribers: int, events: int) -> dict[str, Any]:
    """Open the streams, write the events, and wait until each stream has them all."""
    headers = {"authorization": f"Bearer {on.credential}"}
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        f"http://{on.host}:{on.port}", headers=headers, connector=connector, timeout=timeout
    ) as http:
        idle = resident_bytes(on.processes.service)
        begin = datetime.now(UTC).isoformat()
        opened = asyncio.Semaphore(0)
        streams = [Stream(kept=[]), *(Stream() for _ in range(subscribers - 1))]
        following = [asyncio.create_task(_follow(http, stream, events, opened)) for stream in streams]
        async with asyncio.timeout(READY_SECONDS):
            for _ in streams:
                await opened.acquire()
        with_streams = resident_bytes(on.processes.service)
        before = on.processes.used()
        started = time.perf_counter()
        users = iter([on.users[number % len(on.users)] for number in range(events)])
        await asyncio.gather(*(_write(http, users) for _ in range(WRITERS)))
        written = time.perf_counter()
        await asyncio.gather(*following)
        seconds = max(stream.ended_at for stream in streams) - started
        used = {name: value - before[name] for name, value in on.processes.used().items()}
        logged = await _log(http, begin)
    first = streams[0]
    told = [json.loads(frame.partition(b"\ndata: ")[2]) for frame in first.kept or ()]
    same = 0
    if told == logged:
        same = sum(stream.events == events and stream.digest.digest() == first.digest.digest() for stream in streams)
    return {
        "subscribers": subscribers,
        "events": events,
        "logged": len(logged),
        "in_order_and_complete": same,
        "deliveries": subscribers * events,
        "seconds": seconds,
        "seconds_of_writing": written - started,
        "deliveries_per_second": subscribers * events / seconds,
        "idle_stream_bytes": (with_streams - idle) / subscribers,
        "resident_bytes": resident_bytes(on.processes.service),
        "cpu_seconds": used,
        "at": begin,
    }


async def run(subscribers: int, events: int) -> dict[str, Any]:
    """Measure on servers of its own."""
    more = {"EVENTS_STREAMS_PER_CREDENTIAL": str(subscribers), "EVENTS_STREAMS_MAX": str(subscribers)}
    async with stage(jobs=True, more=more) as on:
        return await measure(on, subscribers, events)


def main() -> None:
    """Measure once; ends with 1 when a stream missed an event or got them in another order."""
    parser = argparse.ArgumentParser(prog="make bench-streams", description="Subscribers of GET /events.")
    parser.add_argument("--subscribers", type=int, default=500)
    parser.add_argument("--events", type=int, default=2000)
    asked = parser.parse_args()
    found = asyncio.run(run(asked.subscribers, asked.events))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2), encoding="utf-8")
    print(f"subscribers                 {found['subscribers']:>12,}")
    print(f"events                      {found['events']:>12,}")
    print(f"streams complete, in order  {found['in_order_and_complete']:>12,}")
    print(f"deliveries per second       {found['deliveries_per_second']:>12,.0f}")
    print(f"seconds, of writing         {found['seconds']:>12.2f} {found['seconds_of_writing']:>8.2f}")
    print(f"memory of an idle stream    {found['idle_stream_bytes'] / 1000:>9.1f} kB")
    print(f"memory of the service       {found['resident_bytes'] / 1e6:>9.1f} MB")
    if found["in_order_and_complete"] != asked.subscribers or found["logged"] != asked.events:
        sys.exit(1)


if __name__ == "__main__":
    main()
