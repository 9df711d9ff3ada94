"""The sandbox as a server: one process, one port, a prefix for each face, and one clock for all of them.

/horizon         Horizon, with /horizon/friendbot
/rpc             Stellar RPC
/trustless-work  the Trustless Work v1 API
/airtm/v2        the Airtm Enterprise API
/airtm/api/connect/v1  Airtm's Connect, if it is switched on
/airtm-web       Airtm's checkout page
/_sim            the controls
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from offerhub.kernel.clock import Clock, SystemClock
from offerhub.sandbox.airtm import AirtmFace
from offerhub.sandbox.airtm_book import AirtmBook
from offerhub.sandbox.airtm_checkout import CheckoutPage
from offerhub.sandbox.airtm_control import AirtmControls
from offerhub.sandbox.chain import Chain
from offerhub.sandbox.clock import WorldClock
from offerhub.sandbox.connect_world import ConnectWorld, controls_without
from offerhub.sandbox.control import ControlFace
from offerhub.sandbox.faults import Faults
from offerhub.sandbox.faulty_wire import TRANSPORT_KEY, FaultyWire
from offerhub.sandbox.horizon import HorizonFace
from offerhub.sandbox.house import House
from offerhub.sandbox.ledger_timer import LedgerTimer
from offerhub.sandbox.options import SandboxOptions
from offerhub.sandbox.problem import Problem, problem_response
from offerhub.sandbox.rpc import RpcFace
from offerhub.sandbox.schedule import Schedule
from offerhub.sandbox.state import ConservationError
from offerhub.sandbox.trustless_work import TrustlessWorkFace
from offerhub.sandbox.webhook_control import WebhookControls, endpoints_for
from offerhub.sandbox.webhooks import Webhooks

GRACE_SECONDS: Final = 1
"""Submissions that wait for a ledger at shutdown are cut off after this."""
KEEP_ALIVE_SECONDS: Final = 75
"""As the service: a client that was idle for a while does not meet a connection that is being closed."""


class _Protocol(HttpToolsProtocol):
    """Leaves the connection in the scope, so that a fault can cut it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[TRANSPORT_KEY] = self.transport  # type: ignore[typeddict-unknown-key]


class _Server(uvicorn.Server):
    """Says when it listens, and leaves the process's signals alone: whoever runs the sandbox decides."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class World:
    """Everything behind the faces, on one clock."""

    def __init__(self, options: SandboxOptions, machine: Clock) -> None:
        self.machine = machine
        self.clock = WorldClock(machine, options.clock or "real", options.clock_factor, options.start_at)
        self.schedule = Schedule(self.clock)
        self.chain = Chain(options, self.clock)
        self.timer = LedgerTimer(self.chain, self.schedule)
        digest = self.chain.cast.digest
        self.faults = Faults(digest)
        self.house = House(self.chain)
        self.airtm = AirtmBook(options, self.chain.now, self.schedule, digest)
        self.webhooks = Webhooks(self.schedule, machine, self.faults, digest, options.state_file)
        if options.webhook_urls:
            secret = self.chain.cast.airtm_webhook_secret
            self.webhooks.set_endpoints(endpoints_for(options.webhook_urls, secret))
        self.airtm.announce = self.webhooks.announce
        self.connect: ConnectWorld | None = None
        if options.connect:
            self.connect = ConnectWorld(self.chain, self.house, self.schedule)
            self.connect.book.announce = self.webhooks.announce
            self.connect.start()
        self.timer.start()

    def application(self, base_url: str) -> FaultyWire:
        """The faces, behind the faults."""
        chain = self.chain
        more = {} if self.connect is None else self.connect.info(base_url)
        connect = controls_without() if self.connect is None else self.connect.mounts(base_url)
        controls = ControlFace(chain, self.house, self.faults, self.timer, base_url, more)
        webhooks = WebhookControls(self.webhooks, chain.cast.airtm_webhook_secret)
        app = Starlette(
            routes=[
                Mount("/horizon", routes=HorizonFace(chain, self.house).routes()),
                *RpcFace(chain, f"{base_url}/horizon/friendbot").routes(),
                Mount("/trustless-work", routes=TrustlessWorkFace(chain, self.machine).routes()),
                Mount("/airtm/v2", routes=AirtmFace(self.airtm, chain.options, self.machine).routes()),
                Mount("/airtm-web", routes=CheckoutPage(self.airtm).routes()),
                *connect,
                Mount("/_sim/airtm", routes=[*webhooks.routes(), *AirtmControls(self.airtm).routes()]),
                Mount("/_sim", routes=controls.routes()),
            ],
            exception_handlers={Problem: problem_response},
        )
        return FaultyWire(app, self.faults)

    async def close(self) -> None:
        """Let go of files and connections."""
        await self.webhooks.close()
        self.airtm.dispose()
        if self.connect is not None:
            self.connect.dispose()
        self.chain.dispose()


async def serve(
    options: SandboxOptions, *, started: Callable[[str], None], stop: asyncio.Event | None = None
) -> None:
    """Serve until `stop` is set or the task is cancelled; `started` gets the base URL once it listens.

    Raises ConservationError, ForeignLog or OSError (the port is taken).
    """
    with socket.create_server((options.host, options.port)) as listener:
        world = World(options, SystemClock())
        try:
            await _serve_on(listener, world, started, stop or asyncio.Event())
        finally:
            await world.close()


async def _serve_on(
    listener: socket.socket, world: World, started: Callable[[str], None], stop: asyncio.Event
) -> None:
    chain = world.chain
    base_url = f"http://{chain.options.host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        world.application(base_url),
        http=_Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config, lambda: started(base_url))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ticking = asyncio.create_task(world.schedule.run())
    stopping = asyncio.create_task(stop.wait())
    breaking = asyncio.create_task(chain.broken.wait())
    try:
        await asyncio.wait({serving, ticking, stopping, breaking}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (ticking, stopping, breaking):
            task.cancel()
        chain.stop()
        server.should_exit = True
        await serving
    if ticking.done() and not ticking.cancelled():
        ticking.result()
    if chain.broken.is_set():
        raise ConservationError("the sandbox's books did not add up")


def main(options: SandboxOptions) -> None:
    """Serve until SIGTERM or SIGINT; prints `sandbox ready <base_url>` once it listens."""
    asyncio.run(_until_signalled(options))


async def _until_signalled(options: SandboxOptions) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def announce(base_url: str) -> None:
        print(f"sandbox ready {base_url}", flush=True)

    await serve(options, started=announce, stop=stop)
