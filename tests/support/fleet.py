"""Several processes of the product on one database, each a real one: they can be stopped, killed and added to."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from offerhub.app import product
from offerhub.settings import load
from support.command import Command, started, started_from
from support.product import Running

START_SECONDS: Final = 90.0
"""A machine that is busy takes its time to start five processes."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Member:
    """One process, and what it has printed."""

    def __init__(self, name: str, process: Command | asyncio.subprocess.Process, url: str = "") -> None:
        self.name = name
        self.url = url
        self.process = process
        self.printed: list[str] = []
        self._ready = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """Its id, which is also in what it holds."""
        return self.process.pid

    async def ready(self) -> None:
        """Wait until it says so."""
        async with asyncio.timeout(START_SECONDS):
            await self._ready.wait()
        assert self.process.returncode is None, "".join(self.printed)

    async def ends(self) -> int:
        """Wait until it has ended; its status."""
        await self._reading
        return await self.process.wait()

    async def stop(self) -> int:
        """Ask it to stop, as whoever deploys does; its status."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ends()

    async def kill(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.ends()

    async def _read(self) -> None:
        async for line in self.process.stdout:
            self.printed.append(line.decode())
            if "ready" in self.printed[-1] and self.printed[-1].startswith("offerhub "):
                self._ready.set()
        self._ready.set()


class Fleet:
    """The processes, and a product of our own on their database that runs nothing: to look at it."""

    def __init__(self, folder: Path, environ: Mapping[str, str], watching: Running) -> None:
        self._folder = folder
        self._environ = dict(environ)
        self._watching = watching
        self.begun = time.time()
        """When it did, in seconds of Unix."""
        self.apis: list[Member] = []
        self.workers: list[Member] = []

    @property
    def members(self) -> list[Member]:
        """All of them, also those that have ended."""
        return [*self.apis, *self.workers]

    def at(self, api: Member) -> Running:
        """The product as one of its processes answers."""
        return Running(self._watching.product, api.url)

    async def start_api(self, jobs: str = "--no-jobs", *, sources: Path | None = None, **more: str) -> Member:
        """Start `offerhub serve`, alone or with `--jobs`, perhaps of another version; it is not ready yet."""
        port = free_port()
        variables = {**self._environ, "PORT": str(port), "HOST": "127.0.0.1", **more}
        process: Command | asyncio.subprocess.Process
        if sources is None:
            process = await started(self._folder, "serve", jobs, **variables)
        else:
            process = await started_from(sources, self._folder, "serve", jobs, **variables)
        self.apis.append(Member(f"api {len(self.apis)}", process, f"http://127.0.0.1:{port}"))
        return self.apis[-1]

    async def start_worker(self, *words: str, **more: str) -> Member:
        """Start `offerhub worker`; it is not ready yet."""
        process = await started(self._folder, "worker", *words, **{**self._environ, **more})
        self.workers.append(Member(f"worker {len(self.workers)}", process))
        return self.workers[-1]

    async def close(self) -> None:
        """End all that still run."""
        await asyncio.gather(*(member.kill() for member in self.members))


@contextlib.asynccontextmanager
async def fleet(folder: Path, environ: Mapping[str, str], *, apis: int, workers: int) -> AsyncIterator[Fleet]:
    """So many processes with these variables, ready; all are gone after the block."""
    async with product(load(environ)) as made:
        found = Fleet(folder, environ, Running(made, ""))
        try:
            await asyncio.gather(
                *(found.start_api() for _ in range(apis)), *(found.start_worker() for _ in range(workers))
            )
            await asyncio.gather(*(member.ready() for member in found.members))
            yield found
        finally:
            await found.close()
