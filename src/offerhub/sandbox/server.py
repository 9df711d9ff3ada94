"""The sandbox as a server: one process, one port, three prefixes, and the clock that closes ledgers.

/horizon         Horizon, with /horizon/friendbot
/trustless-work  the Trustless Work v1 API
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
from offerhub.sandbox.control import ControlFace
from offerhub.sandbox.faults import TRANSPORT_KEY, Faults, FaultyWire
from offerhub.sandbox.horizon import HorizonFace, Problem, problem_response
from offerhub.sandbox.house import House
from offerhub.sandbox.options import SandboxOptions
from offerhub.sandbox.state import ConservationError
from offerhub.sandbox.trustless_work import TrustlessWorkFace

GRACE_SECONDS: Final = 1
"""Submissions that wait for a ledger at shutdown are cut off after this."""


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


class Ticker:
    """Closes ledgers on the chain's clock, which can be changed and stopped while it runs."""

    def __init__(self, chain: Chain, clock: Clock) -> None:
        self._chain = chain
        self._clock = clock
        self._changed = asyncio.Event()

    def clock_set(self) -> None:
        """Notice a new interval at once instead of after the old one."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled. Raises ConservationError when the books do not add up."""
        while True:
            seconds = self._chain.ledger_seconds
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds or None)
            if self._changed.is_set():
                self._changed.clear()
            else:
                self._chain.close()


def application(
    chain: Chain, airtm: AirtmBook, clock: Clock, base_url: str, clock_set: Callable[[], None]
) -> FaultyWire:
    """The faces on one chain and one book of Airtm, behind the faults."""
    faults, house = Faults(), House(chain)
    control = ControlFace(chain, house, faults, base_url, clock_set)
    app = Starlette(
        routes=[
            Mount("/horizon", routes=HorizonFace(chain, house).routes()),
            Mount("/trustless-work", routes=TrustlessWorkFace(chain, clock).routes()),
            Mount("/airtm/v2", routes=AirtmFace(airtm, chain.options, clock).routes()),
            Mount("/airtm-web", routes=CheckoutPage(airtm).routes()),
            Mount("/_sim/airtm", routes=AirtmControls(airtm).routes()),
            Mount("/_sim", routes=control.routes()),
        ],
        exception_handlers={Problem: problem_response},
    )
    return FaultyWire(app, faults)


async def serve(
    options: SandboxOptions, *, started: Callable[[str], None], stop: asyncio.Event | None = None
) -> None:
    """Serve until `stop` is set or the task is cancelled; `started` gets the base URL once it listens.

    Raises ConservationError, ForeignLog or OSError (the port is taken).
    """
    clock = SystemClock()
    with socket.create_server((options.host, options.port)) as listener:
        chain = Chain(options, clock)
        airtm = AirtmBook(chain.now, options.airtm_settle_seconds, options.state_file)
        try:
            await _serve_on(listener, chain, airtm, clock, started, stop or asyncio.Event())
        finally:
            airtm.dispose()
            chain.dispose()


async def _serve_on(
    listener: socket.socket,
    chain: Chain,
    airtm: AirtmBook,
    clock: Clock,
    started: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    base_url = f"http://{chain.options.host}:{listener.getsockname()[1]}"
    ticker = Ticker(chain, clock)
    config = uvicorn.Config(
        application(chain, airtm, clock, base_url, ticker.clock_set),
        http=_Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config, lambda: started(base_url))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ticking = asyncio.create_task(ticker.run())
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
