"""One seed: bootstrap, safety (everything goes wrong), calm (everything must come to rest), and the verdict."""

import asyncio
import gc
import logging
import traceback
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from offerhub.reconciliation import service as reconciliation
from offerhub.runtime import dead_letters
from offerhub.runtime.queue import job_data
from offerhub.settings import load
from simulation import oracle
from simulation.chance import Chance
from simulation.client import Client
from simulation.clock import EPOCH_SECONDS
from simulation.database import Wire
from simulation.loop import Host, SimulatedLoop, Stuck
from simulation.net import Net, Server
from simulation.outside import SHOP_HOOK, Outside
from simulation.process import SKEW_SECONDS_MAX, Replica, poll_less
from simulation.queues import Bull, Job
from simulation.trace import Trace
from simulation.workload import Stories

MASTER_KEY: Final = "the master key of a simulation, long enough"
SAFETY_SECONDS: Final = 25.0
CALM_SECONDS_MAX: Final = 300.0
LOOK_SECONDS: Final = 6.0
REST_LOOK_SECONDS: Final = 3.0
SCHEDULE_SECONDS: Final = (8.0, 25.0)
"""How often what runs by the clock runs here: far more often than it does in production."""
POLICY_SECONDS: Final = 15.0
"""After how long a policy of a day or of 24 hours fires where there are timers: its clock is ahead by the rest."""
TIMERS: Final = {
    "autoReleaseAfterDays": 1,
    "autoCancelUnfundedAfterHours": 24,
    "disputeDeadlineDays": 1,
    "onDisputeDeadline": "REFUND",
    "topupExpiryHours": 24,
}


@dataclass
class Verdict:
    """What came of a seed."""

    seed: int
    failure: str = ""
    trace: str = ""
    events: int = 0
    virtual_seconds: float = 0.0
    calm_seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)


class Simulation:
    """The world of one seed."""

    def __init__(self, seed: int, url: str, *, echo: bool = False, logs: bool = False) -> None:
        self._log_level = logging.DEBUG if logs else logging.CRITICAL
        self.chance = Chance(seed)
        self.trace = Trace(echo)
        self.loop = SimulatedLoop(self.chance.order)
        self.airtm = seed % 2 == 1
        self.has_timers = seed // 2 % 2 == 1
        self._url = url

    def run(self) -> Verdict:
        """Run it; this interpreter is the seed's afterwards and should end."""
        verdict = Verdict(self.chance.seed)
        # Nothing may be collected at a moment that is not the seed's, least of all the dead.
        gc.disable()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(self._log_level))
        self.wire = Wire(self._url, self.loop, self.chance, self.trace)
        self.wire.connect(f"seed_{self.chance.seed}")
        self.chance.plant(lambda: EPOCH_SECONDS + self.loop.time())
        poll_less()
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(self._unheard)
        try:
            self.loop.run_until_complete(self._all(verdict))
        except (Exception, Stuck) as error:  # noqa: BLE001 - whatever breaks is the verdict
            verdict.failure = "".join(traceback.format_exception(error))
        verdict.trace, verdict.events = self.trace.hash, self.trace.events
        verdict.virtual_seconds = self.loop.time()
        verdict.counts = dict(self.trace.counts)
        verdict.last = list(self.trace.last)
        return verdict

    def _unheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody waited for is told in the log only, as in production."""
        self.trace.count("unheard exceptions")

    # -- the phases ------------------------------------------------------------------------------------------

    async def _all(self, verdict: Verdict) -> None:
        await self._begin()
        stories = await self._bootstrap()
        work = self.chance.work
        self._calm(is_calm=False)
        running = [self.loop.spawn(self._tell(story), None) for story in stories.draw(work.randrange(6, 16))]
        nuisances = [self.loop.spawn(self._plague(replica), None) for replica in self.replicas]
        nuisances.append(self.loop.spawn(self._watch(), None))
        clocked = self.loop.spawn(self._by_the_clock(), None)
        await asyncio.sleep(SAFETY_SECONDS)
        for one in nuisances:
            if one.done():
                one.result()
            one.cancel()
        self._calm(is_calm=True)
        began = self.loop.time()
        for replica in self.replicas:
            if replica.host is not None:
                replica.host.fuse = None
                if replica.host.frozen:
                    self.loop.thaw(replica.host)
            else:
                replica.start()
        await self._come_to_rest(running)
        clocked.cancel()
        verdict.calm_seconds = self.loop.time() - began
        await self._judge()

    async def _begin(self) -> None:
        loop, chance, trace = self.loop, self.chance, self.trace
        self.net = Net(loop, chance, trace)
        self.bull = Bull(loop, chance, trace)
        self.outside = Outside(loop, chance, trace, self.net, self._any_server)
        self.world = loop.spawn(self.outside.run(), None)
        settings = load(
            {
                "NODE_ENV": "test",
                "DATABASE_URL": "postgresql://simulated/simulated",
                "REDIS_URL": "redis://simulated",
                "OFFERHUB_MASTER_KEY": MASTER_KEY,
                "PAYMENT_PROVIDER": "airtm" if self.airtm else "crypto",
                "RATE_LIMIT_MAX": "0",
                "DEPOSIT_POLL_SECONDS": "1",
                "POLICY_CLOCK_AHEAD_SECONDS": str(24 * 3600 - POLICY_SECONDS),
            }
            | await self.outside.variables()
        )
        drawn = chance.faults
        parts = (loop, chance, trace, self.wire, self.net, self.bull)
        count = drawn.choice((2, 2, 3))
        self.replicas = [
            Replica(f"p{number}", settings, parts, self.outside.servers, drawn.uniform(-1, 1) * SKEW_SECONDS_MAX)
            for number in range(1, count + 1)
        ]
        self.database = self.wire.database(None)

    async def _bootstrap(self) -> Stories:
        """Processes up, a marketplace with users and money; nothing goes wrong yet."""
        first, *others = self.replicas
        first.start()
        while not self._servers():
            self._fail_if_broken()
            await asyncio.sleep(0.1)
        for replica in others:
            replica.start()
        master = self._client("master", MASTER_KEY)
        master.marketplace = (await master.post("/admin/marketplaces", {"name": "shop"})).data["id"]
        made = await master.post(
            "/auth/api-keys", {"name": "backend", "scopes": ["*"], "marketplaceId": master.marketplace}
        )
        self.client = self._client("shop", made.data["key"])
        await self.client.post("/webhook-endpoints", {"url": SHOP_HOOK})
        if self.has_timers:
            await self.client.put("/policies", TIMERS)
        stories = Stories(self.client, self.outside, self.chance.work, airtm=self.airtm)
        await stories.begin(self.chance.work.randrange(3, 6))
        await self._until("SELECT count(*) = 0 FROM wallets WHERE status <> 'READY'")
        if self.airtm:
            treasury = "SELECT public_key FROM wallets WHERE purpose = 'treasury'"
            address = await self.database.run(lambda tx: tx.value(treasury), read_only=True)
            await self.outside.control("mint", {"address": address, "amount": "5000.00"})
            for person in stories.people:
                await self.client.post(f"/users/{person.id}/balance/credit", {"amount": "300.00"})
        else:
            for person in stories.people:
                await self.outside.control("mint", {"address": person.address, "amount": "600.00"})
        return stories

    async def _until(self, sql: str) -> None:
        while not await self.database.run(lambda tx: tx.value(sql), read_only=True):
            self._fail_if_broken()
            await asyncio.sleep(0.5)

    def _client(self, name: str, credential: str) -> Client:
        return Client(name, credential, self.chance, self.trace, self.net, self._servers)

    def _servers(self) -> list[Server]:
        return [one.server for one in self.replicas if one.server is not None]

    def _any_server(self) -> Server | None:
        servers = self._servers()
        return servers[int(self.chance.order.random() * len(servers))] if servers else None

    def _calm(self, *, is_calm: bool) -> None:
        self.net.is_calm = self.bull.is_calm = self.wire.is_calm = self.outside.shop.is_calm = is_calm

    # -- what goes wrong -------------------------------------------------------------------------------------

    async def _tell(self, story: Any) -> None:
        await asyncio.sleep(self.chance.work.uniform(0.0, SAFETY_SECONDS * 0.6))
        await story()

    async def _plague(self, replica: Replica) -> None:
        """A process dies or stands still, again and again."""
        drawn, rates = self.chance.faults, self.chance.rates
        while True:
            await asyncio.sleep(drawn.expovariate(1 / rates.life_seconds))
            if drawn.random() < rates.frozen:
                replica.freeze_soon(drawn)
                continue
            replica.die_soon(drawn)
            while replica.host is not None:
                await asyncio.sleep(0.5)
            await asyncio.sleep(drawn.uniform(0.1, 4.0))
            replica.start()

    async def _watch(self) -> None:
        """The invariants hold while all that goes on."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._fail_if_broken()
            await oracle.held(self.database)

    async def _by_the_clock(self) -> None:
        """Schedules, which BullMQ keeps in production."""
        drawn, turn = self.chance.faults, 0
        while True:
            await asyncio.sleep(drawn.uniform(*SCHEDULE_SECONDS))
            product = next((one.product for one in self.replicas if one.product is not None), None)
            if product is None:
                continue
            turn += 1
            for plan in product.reconciliation.schedules():
                data, moment = job_data(plan.payload), self.loop.time()
                job = Job(reconciliation.QUEUE, plan.name, f"repeat:{plan.id}:{turn}", data, moment)
                self.bull.jobs[job.queue, job.id] = job
                self.bull.put(job)

    def _fail_if_broken(self) -> None:
        for replica in self.replicas:
            if replica.failure is not None:
                raise oracle.Violation(f"{replica.name} came to an end by itself") from replica.failure

    # -- the end ---------------------------------------------------------------------------------------------

    async def _come_to_rest(self, running: list["asyncio.Task[None]"]) -> None:
        ends = self.loop.time() + CALM_SECONDS_MAX
        while True:
            self._fail_if_broken()
            for story in running:
                if story.done():
                    story.result()
            await self._operate()
            talking = sum(not one.done() for one in running)
            left = [f"stories: {talking}"] if talking else []
            left += await oracle.restless(self.database)
            if not left:
                left = await oracle.differences(self.database, self.outside)
            if not left:
                return
            if self.loop.time() > ends:
                raise oracle.Violation(f"does not come to rest: {left}")
            await asyncio.sleep(REST_LOOK_SECONDS)

    async def _operate(self) -> None:
        """An operator lets what failed for good be tried again."""

        async def again(tx: Any) -> int:
            letters = await dead_letters.newest(tx, 50)
            for letter in letters:
                await dead_letters.retry(tx, letter.id)
            return len(letters)

        if await self.database.run(again):
            self.trace.count("dead letters tried again")

    async def _judge(self) -> None:
        await oracle.held(self.database)
        await oracle.remembered(self.database, self.client.memory)
        if self.outside.shop.differing:
            raise oracle.Violation(f"webhooks told two things of one event: {self.outside.shop.differing}")
        for replica in self.replicas:
            host: Host | None = replica.host
            assert host is not None
            assert host.alive
