"""One process of the product: its edge, its workers and all that goes on beside them; it can die at any await."""

import asyncio
import random
from collections.abc import Mapping
from typing import Final

from offerhub import queues as catalogue
from offerhub import worker
from offerhub.app import Product, edge
from offerhub.runtime.database import UNREACHABLE
from offerhub.runtime.dead_letters import DeadLetters
from offerhub.runtime.outbox import Relay
from offerhub.settings import Settings
from offerhub.webhook_endpoints import dispatch
from offerhub.worker import bulk_handlers, handlers, tasks_beside
from simulation.chance import FREEZES, Chance
from simulation.clock import SimulatedClock
from simulation.database import Wire
from simulation.loop import Host, SimulatedLoop
from simulation.net import Net, Server, SimulatedHttp
from simulation.queues import WORKERS, Bull, SimulatedQueues, work
from simulation.trace import Trace

RELAY_SECONDS: Final = 1.5
POLLS: Final = ((dispatch, "INTERVAL_SECONDS", 2.0), (worker, "PLACES_SECONDS", 3.0), (worker, "SEALS_SECONDS", 5.0))
"""What polls, polls less often than in production: idle statements cost most of a run and show nothing."""
SWEEP_AFTER_SECONDS: Final = 10.0
"""When the relay looks for what the queue has forgotten; a minute in production."""
STEPS_TO_DEATH_MAX: Final = 150
SKEW_SECONDS_MAX: Final = 2.0


def poll_less() -> None:
    """In this interpreter, for good."""
    for module, name, seconds in POLLS:
        setattr(module, name, seconds)


class Replica:
    """A process under a name; it is started again after it died, with nothing but the database."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        parts: tuple[SimulatedLoop, Chance, Trace, Wire, Net, Bull],
        servers: Mapping[str, Server],
        skew: float,
    ) -> None:
        self.name = name
        self._settings = settings
        self._loop, self._chance, self._trace, self._wire, self._net, self._bull = parts
        self._servers = servers
        self._skew = skew
        self._life = 0
        self.host: Host | None = None
        self.server: Server | None = None
        self.product: Product | None = None
        self.failure: BaseException | None = None
        self._kept: list[object] = []

    def start(self) -> None:
        """Begin a new life."""
        self._life += 1
        host = self.host = Host(f"{self.name}.{self._life}")
        task = self._loop.spawn(self._live(host), host)
        task.add_done_callback(self._over)
        self._kept.append(task)

    def _over(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()

    async def _live(self, host: Host) -> None:
        queues = SimulatedQueues(self._bull, self._loop, self._chance)
        http = SimulatedHttp(self._net, host.name, self._servers)
        clock = SimulatedClock(self._loop, self._skew)
        made = Product(self._settings, self._wire.database(host), http, clock=clock)
        made.webhooks_out.sender._http = http
        self._kept.append(made)
        self.product = made
        await self._bootstrap(made)
        relay = Relay(
            made.database,
            queues,
            RELAY_SECONDS,
            sweep_after_seconds=SWEEP_AFTER_SECONDS,
            bulk=bulk_handlers(made),
        )
        letters = DeadLetters(made.database, queues, catalogue.NAMES, host.name)
        beside = tasks_beside(made, queues, catalogue.NAMES, host.name, schedules=False)
        tasks = [asyncio.create_task(one, name=name) for name, one in beside.items()]
        tasks.append(asyncio.create_task(relay.run(), name="outbox relay"))
        run_by = handlers(made)
        tasks += [
            asyncio.create_task(work(self._bull, run_by, relay.finish, letters.keep), name="worker")
            for _ in range(WORKERS)
        ]
        self.server = Server(host.name, edge(made, {}, queues), host)
        self._trace.add(self._loop.time(), host.name, "up")
        with (
            made.doorbell.heard("jobs", relay.ring),
            made.doorbell.heard("events", made.webhooks_out.dispatcher.ring),
        ):
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise AssertionError(f"{sorted(task.get_name() for task in done)} came to an end")

    async def _bootstrap(self, made: Product) -> None:
        """Without its database a process ends at its start; whoever looks after it starts it again."""
        while True:
            try:
                await made.bootstrap()
            except UNREACHABLE:
                await made.clock.sleep(1.0)
            else:
                return

    # -- what happens to it ----------------------------------------------------------------------------------

    def die_soon(self, drawn: random.Random) -> None:
        """At one of the next awaits, wherever that is."""
        host = self.host
        if host is not None and host.alive:
            host.fuse = drawn.randrange(1, STEPS_TO_DEATH_MAX)
            host.burnt = self._die

    def _die(self) -> None:
        host, server = self.host, self.server
        assert host is not None
        self._loop.kill(host)
        self._wire.abandon(host)
        self._bull.stalled(host)
        if server is not None:
            self._net.hang_up(server)
        self.host = self.server = self.product = None
        self._kept.append(host)
        self._trace.add(self._loop.time(), host.name, "killed", str(host.steps))
        self._trace.count("crashes")

    def freeze_soon(self, drawn: random.Random) -> None:
        """At one of the next awaits stand still for a while; transactions stay open, and leases run out."""
        host = self.host
        if host is not None and host.alive and not host.frozen:
            seconds = drawn.uniform(*drawn.choice(FREEZES))
            host.fuse = drawn.randrange(1, STEPS_TO_DEATH_MAX)
            host.burnt = lambda: self._freeze(host, seconds)

    def _freeze(self, host: Host, seconds: float) -> None:
        self._trace.add(self._loop.time(), host.name, "frozen", f"{seconds:.3f}")
        self._trace.count("freezes")
        host.frozen = True
        self._loop.spawn(self._thaw(host, seconds), None)

    async def _thaw(self, host: Host, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if host.alive and host.frozen:
            self._loop.thaw(host)
            self._trace.add(self._loop.time(), host.name, "thawed")
