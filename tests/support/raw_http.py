"""Bytes to a server, and what it says before it closes: for what no HTTP client would send."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATIENCE_SECONDS = 30.0

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(.*?)\r\n\r\n", re.DOTALL)


@dataclass(frozen=True)
class Said:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of an error, which is JSON; empty for what is none."""
        found: Any = json.loads(self.body or b"{}")
        return str(found.get("error", {}).get("code", ""))


def answers(text: bytes) -> list[Said]:
    """The answers in what a server has sent; each has a length."""
    found = []
    while text:
        head = _HEAD.match(text)
        assert head is not None, text[:200]
        lines = [line.partition(":") for line in head[2].decode("latin-1").split("\r\n")]
        headers = {name.lower(): value.strip() for name, _, value in lines}
        end = head.end() + int(headers.get("content-length", "0"))
        found.append(Said(int(head[1]), headers, text[head.end() : end]))
        text = text[end:]
    return found


class Line:
    """A connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, url: str) -> "Line":
        """Connect."""
        place = urlsplit(url)
        return cls(*await asyncio.open_connection(place.hostname, place.port))

    async def send(self, *parts: bytes, pause_seconds: float = 0.0) -> None:
        """Send, with pauses in between; what the other side does not take any more is left out."""
        try:
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()
                if pause_seconds:
                    await asyncio.sleep(pause_seconds)
        except OSError:
            return

    async def rest(self, *, seconds: float = PATIENCE_SECONDS) -> bytes:
        """All that comes until the other side closes. Raises TimeoutError when it does not."""
        found = bytearray()
        try:
            async with asyncio.timeout(seconds):
                while data := await self._reader.read(65536):
                    found += data
        except ConnectionError:
            found += self._reader._buffer  # type: ignore[attr-defined] # what had come before it was cut off
        finally:
            self.writer.close()
        return bytes(found)

    async def some(self, until: bytes, *, seconds: float = PATIENCE_SECONDS) -> bytes:
        """What comes up to and with these bytes."""
        async with asyncio.timeout(seconds):
            return await self._reader.readuntil(until)


async def spoken(url: str, *parts: bytes, pause_seconds: float = 0.0) -> list[Said]:
    """The answers to these bytes, on a connection of their own, once it has been closed."""
    line = await Line.open(url)
    sending = asyncio.create_task(line.send(*parts, pause_seconds=pause_seconds))
    heard = await line.rest()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    return answers(heard)


def request(method: str, path: str, *headers: str, body: bytes = b"", host: bool = True) -> bytes:
    """A request as its bytes; nothing is added to the headers but `Host`."""
    lines: Sequence[str] = [f"{method} {path} HTTP/1.1", *(["Host: x"] if host else []), *headers]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body
