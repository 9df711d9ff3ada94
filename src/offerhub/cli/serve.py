"""`offerhub serve`, `worker` and `bootstrap`: running the service."""

import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Final

import structlog
import uvicorn

from offerhub.app import http_application, load_signing, product
from offerhub.cli.environment import CommandError, environment, run, services, settings_of
from offerhub.cli.metrics_port import metrics_port
from offerhub.cli.processes import Part, Processes, listening, require_free
from offerhub.edge.protocol import protocol
from offerhub.queues import NAMES
from offerhub.runtime import migrations
from offerhub.runtime.cancellation import end
from offerhub.runtime.queue import Workers
from offerhub.settings import Settings
from offerhub.worker import Stopping, background

KEEP_ALIVE_SECONDS: Final = 75
"""Longer than load balancers and client pools keep an idle connection, so that it is never we who drop a request."""
FORCED_AFTER_SECONDS: Final = 10.0
"""A process that has not stopped so long after its deadline is ended."""
FORCED_STATUS: Final = 1
STACK_FRAMES: Final = 3
"""So many frames of each task that did not end are shown."""

log = structlog.get_logger("offerhub.serve")


class _Server(uvicorn.Server):
    """Uvicorn, saying when it listens."""

    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], None], stop: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._stop = stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, and let open requests end."""
        await self._stop()
        await super().shutdown(sockets)


async def prepare(settings: Settings) -> None:
    """Bring the schema up to date."""
    for applied in await migrations.migrate(settings.storage.direct_url.reveal()):
        log.info("migration_applied", version=applied.version, name=applied.name)


def end_by_force(seconds: float) -> None:
    """End the process with status 1 should it still be there in so many seconds, and say what it was waiting for.

    What it leaves is taken up again.
    """

    loop = asyncio.get_running_loop()

    def end() -> None:
        print(f"offerhub: not stopped after {seconds:g} s, ended", file=sys.stderr)
        for task in asyncio.all_tasks(loop):
            task.print_stack(limit=STACK_FRAMES, file=sys.stderr)
        sys.stderr.flush()
        os._exit(FORCED_STATUS)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


@contextlib.asynccontextmanager
async def settled_memory() -> AsyncIterator[None]:
    """Once everything is imported, leave what is there alone: the collector would look at all of it again and again.

    It goes on beside the block, because what signs takes a second to import and nobody waits for it.
    """

    async def settle() -> None:
        await load_signing()
        gc.collect()
        gc.freeze()

    task = asyncio.create_task(settle())
    try:
        yield
    finally:
        await end(task)


async def serve_with(settings: Settings, *, jobs: bool = True, part: Part | None = None) -> None:
    """Run the service with these settings until it is told to stop; as a part of it, on a port that is shared."""
    await prepare(settings)
    stopping = Stopping(settings.jobs.shutdown_seconds)
    workers: Workers | None = None

    async def stop() -> None:
        stopping.begin()
        end_by_force(settings.jobs.shutdown_seconds + FORCED_AFTER_SECONDS)
        log.info("stopping", seconds=settings.jobs.shutdown_seconds)
        made.streams.close()
        if workers is not None:
            await workers.pause()

    # Uvicorn raises the signal that stopped it again, once it has shut down; by then it has done its work.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    async with contextlib.AsyncExitStack() as stack:
        made = await stack.enter_async_context(product(settings))
        await made.bootstrap()
        served = await stack.enter_async_context(http_application(made))
        await stack.enter_async_context(settled_memory())
        await stack.enter_async_context(metrics_port(made, queues_are_told=True))
        server = settings.server
        config = uvicorn.Config(
            served,
            host=server.host,
            port=server.port,
            loop="none",
            http=protocol(server.head_seconds),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(settings.jobs.shutdown_seconds),
        )
        if jobs:
            workers = await stack.enter_async_context(background(made, stopping=stopping))
        if part is None:
            await _Server(config, lambda: print(_ready(settings), flush=True), stop).serve()
            return
        part.follow(asyncio.get_running_loop())
        await _Server(config, part.tell_ready, stop).serve([listening(server.host, server.port)])


def _ready(settings: Settings) -> str:
    return f"offerhub ready http://{settings.server.host}:{settings.server.port}"


def _serve_as(settings: Settings, part: Part, *, jobs: bool) -> None:
    """Be one of several processes: the first one runs the jobs, and each has a port of its own for metrics."""
    server = settings.server
    if server.metrics_port:
        server = replace(server, metrics_port=server.metrics_port + part.number)
    run(serve_with(replace(settings, server=server), jobs=jobs and part.number == 0, part=part))


def serve(*, jobs: bool = True) -> None:
    """Run the service: HTTP API and background jobs in one process.

    Applies pending migrations first. Without DATABASE_URL and REDIS_URL it runs its own PostgreSQL and Valkey
    (not in production). Stops cleanly on SIGTERM and Ctrl-C. With WEB_CONCURRENCY it is so many processes, of which
    the first runs the jobs.

    Parameters
    ----------
    jobs
        Also hand over and run background jobs, and watch for deposits. With `--no-jobs` a separate
        `offerhub worker` must do that.
    """
    with services(settings_of(environment())) as settings:
        server = settings.server
        if server.processes == 1:
            run(serve_with(settings, jobs=jobs))
            return
        require_free(server.host, server.port)
        work = partial(_serve_as, settings, jobs=jobs)
        status = Processes(server.processes, work, _ready(settings)).run()
    if status:
        sys.exit(status)


async def _worker(settings: Settings, taken: Collection[str]) -> None:
    await prepare(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with product(settings) as made:
        await made.bootstrap()
        async with metrics_port(made, queues_are_told=False), background(made, taken=taken), settled_memory():
            print("offerhub worker ready", flush=True)
            await stop.wait()
            end_by_force(settings.jobs.shutdown_seconds + FORCED_AFTER_SECONDS)
            log.info("stopping", seconds=settings.jobs.shutdown_seconds)


def chosen_queues(text: str) -> frozenset[str]:
    """The queues that a text such as `sagas,webhooks` names. Raises CommandError for one that there is not."""
    found = frozenset(name.strip() for name in text.split(",") if name.strip())
    unknown = ", ".join(sorted(found - set(NAMES)))
    if unknown or not found:
        raise CommandError(f"there is no queue {unknown or 'named'}: --queues takes {', '.join(NAMES)}.")
    return found


def worker(*, queues: str = ",".join(NAMES)) -> None:
    """Run background jobs without the HTTP API; any number may run beside `offerhub serve --no-jobs`.

    Stops cleanly on SIGTERM and Ctrl-C: what it has not finished by then another worker takes at once.

    Parameters
    ----------
    queues
        The queues whose jobs it takes, with commas in between. What belongs to a queue, such as the watch for
        deposits, goes with it, so somebody must take each of them.
    """
    taken = chosen_queues(queues)
    with services(settings_of(environment())) as settings:
        run(_worker(settings, taken))


async def _bootstrap(settings: Settings) -> None:
    await prepare(settings)
    async with product(settings) as made:
        for wallet in await made.bootstrap():
            print(f"{wallet.purpose} wallet {wallet.public_key} {wallet.status}")
            if wallet.purpose == "platform" and made.network.friendbot_url is None and wallet.status == "PENDING":
                print("  send XLM to this address; the service then sets up all its wallets")


def bootstrap() -> None:
    """Make the wallets that the service itself needs, and print their addresses. Safe to repeat."""
    with services(settings_of(environment())) as settings:
        run(_bootstrap(settings))
