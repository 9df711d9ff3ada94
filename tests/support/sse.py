"""A client of event streams, as strict as the contract (2.12): it reads frames, and remembers the last id."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Frame:
    """One frame, by its fields."""

    id: str | None
    event: str | None
    data: Any
    raw: bytes


@dataclass
class EventStream:
    """An open stream. `retry` is what the server asked for last."""

    response: aiohttp.ClientResponse
    last_id: str | None = None
    retry: int | None = None
    frames: list[Frame] = field(default_factory=list)

    async def next(self) -> Frame | None:
        """The next frame with data, None when the stream has ended."""
        lines: list[bytes] = []
        while True:
            line = await self.response.content.readline()
            if not line:
                return None
            if line != b"\n":
                lines.append(line)
                continue
            fields = dict(one.decode().rstrip("\n").split(": ", 1) for one in lines)
            if "retry" in fields:
                self.retry = int(fields["retry"])
            if "data" in fields:
                frame = Frame(fields.get("id"), fields.get("event"), json.loads(fields["data"]), b"".join(lines))
                self.last_id = frame.id or self.last_id
                self.frames.append(frame)
                return frame
            lines = []

    async def until(self, enough: Callable[[Frame], bool], seconds: float = 20) -> list[Frame]:
        """The frames up to one that will do; pings are left out."""
        found = []
        async with asyncio.timeout(seconds):
            while True:
                frame = await self.next()
                assert frame is not None, "the stream ended"
                if frame.event != "ping":
                    found.append(frame)
                    if enough(frame):
                        return found

    async def take(self, count: int, seconds: float = 20) -> list[Frame]:
        """So many events."""
        found: list[Frame] = []

        def enough(frame: Frame) -> bool:
            found.append(frame)
            return len(found) == count

        return await self.until(enough, seconds) if count else []


@contextlib.asynccontextmanager
async def follow(
    http: aiohttp.ClientSession, url: str, key: str, query: str = "", last_id: str | None = None
) -> AsyncIterator[EventStream]:
    """A stream of the product at `url`, open and answering."""
    headers = {"authorization": f"Bearer {key}", "accept": "text/event-stream"}
    if last_id is not None:
        headers["last-event-id"] = last_id
    timeout = aiohttp.ClientTimeout(total=None)
    async with http.get(f"{url}/api/v1/events?{query}", headers=headers, timeout=timeout) as response:
        assert response.status == 200, await response.text()
        yield EventStream(response)
