"""The routes of operations: what is public (contract 2.1); maintenance, queues, and what is stuck (2.14)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offerhub.errors import NotFound, NotReady, ServiceUnavailable
from offerhub.kernel.clock import Clock, SystemClock, to_wire
from offerhub.operations import maintenance, service
from offerhub.operations.model import (
    ConfigAnswer,
    DeadLetterAnswer,
    DeadLetterDetails,
    DeadLettersQuery,
    DetailedHealthAnswer,
    DisableMaintenance,
    EnableMaintenance,
    FeaturesAnswer,
    HealthAnswer,
    LimitsAnswer,
    MaintenanceAnswer,
    MovedLetterAnswer,
    Probe,
    ProvidersAnswer,
    PublicConfig,
    QueuesAnswer,
    RangeAnswer,
    ReadyAnswer,
    StuckAnswer,
    StuckQuery,
)
from offerhub.operations.queues import QueueOffice
from offerhub.operations.radar import Radar
from offerhub.operations.service import Readiness
from offerhub.runtime.database import Database
from offerhub.runtime.queue import Queues
from offerhub.runtime.routes import Call, Envelope, Route

LIMITS: Final = LimitsAnswer(
    topup=RangeAnswer(min="1.00", max="10000.00"),
    withdrawal=RangeAnswer(min="10.00", max="5000.00"),
    order=RangeAnswer(min="1.00", max="50000.00"),
)
"""Recommendations that clients show; nothing enforces them (contract 2.1)."""


def routes(
    *, version: str, probes: Mapping[str, Probe], config: PublicConfig, clock: Clock | None = None
) -> tuple[Route, ...]:
    """The public routes. `probes` are named as on the wire, such as `trustlessWork`."""
    handlers = _Handlers(version, probes, config, clock or SystemClock())
    public: dict[str, Any] = {
        "scope": "public",
        "domain": "operations",
        "envelope": Envelope.DATA,
        "unit": "none",
    }
    return (
        Route("GET", "/health", "health.get", "Say that the process answers.",
              handlers.health, **public, answer=HealthAnswer, description="Asks nothing else."),
        Route("GET", "/health/detailed", "health.detailed", "Ask every dependency.",
              handlers.detailed, **public, answer=DetailedHealthAnswer,
              description="The status is 200 even when the service is not healthy: `data.status` tells."),
        Route("GET", "/ready", "ready.get", "Say whether this process can take requests.",
              handlers.ready, **public, answer=ReadyAnswer, errors=(NotReady,), rate_limited=False,
              description="For load balancers and orchestrators: 503 while its database, or the schema in it, is of "
              "no use. Answers within three seconds whatever hangs, and costs no allowance."),
        Route("GET", "/config", "config.get", "Say what this installation offers.",
              handlers.config, **public, answer=ConfigAnswer),
    )  # fmt: skip


def maintenance_routes() -> tuple[Route, ...]:
    """The routes that switch maintenance, for operators."""
    support: dict[str, Any] = {
        "scope": "support",
        "domain": "operations",
        "envelope": Envelope.DATA,
        "answer": MaintenanceAnswer,
    }
    # A switch takes no idempotency key: repeating it changes nothing, and a stored answer would tell of the past.
    switch: dict[str, Any] = {
        "body_optional": True,
        "idempotency_seconds": 0,
        "description": "The switch is for the whole installation: it takes the master key, or a key of the default "
        "marketplace that is bound to no user.",
    }
    return (
        Route("POST", "/admin/maintenance/enable", "maintenance.enable", "Refuse changes until it is disabled.",
              _enable, **support, **switch, body=EnableMaintenance),
        Route("POST", "/admin/maintenance/disable", "maintenance.disable", "Accept changes again.",
              _disable, **support, **switch, body=DisableMaintenance),
        Route("GET", "/admin/maintenance/status", "maintenance.status", "Say whether changes are accepted.",
              _status, **support, unit="read"),
    )  # fmt: skip


def stuck_routes(radar: Radar) -> tuple[Route, ...]:
    """The route that tells what is past its time, for operators."""

    async def stuck(call: Call) -> StuckAnswer:
        return await radar.stuck(call.tx, call.actor, call.query)

    return (
        Route("GET", "/admin/stuck", "stuck.list", "List what is stuck: past its time, and not at an end.",
              stuck, scope="support", domain="operations", envelope=Envelope.DATA, unit="read", query=StuckQuery,
              answer=StuckAnswer,
              description="Orders, escrows, disputes, top-ups, withdrawals, sagas, webhooks and jobs, the oldest "
              "first, each with its cause and what comes next. `STUCK_BUDGET_PERCENT` stretches the times."),
    )  # fmt: skip


def queue_routes(database: Database, queues: Queues, names: Sequence[str]) -> tuple[Route, ...]:
    """The routes that show the queues of these names and move dead letters, for operators."""
    office = QueueOffice(database, queues, names)
    support: dict[str, Any] = {"scope": "support", "domain": "operations"}
    data: dict[str, Any] = {**support, "envelope": Envelope.DATA}
    # They speak to Redis, which no transaction waits for. A letter that was moved is gone, so no key is needed.
    move: dict[str, Any] = {**data, "unit": "none", "errors": (NotFound, ServiceUnavailable)}
    return (
        Route("GET", "/admin/queues", "queues.list", "Count the jobs of every queue.",
              office.counts, **data, unit="none", answer=QueuesAnswer, errors=(ServiceUnavailable,),
              description="With the age of the oldest that has not run, dead letters, and who takes them."),
        Route("GET", "/admin/dlq", "dead_letters.list", "List jobs that failed for good.",
              office.newest, **support, envelope=Envelope.PAGE, answer=DeadLetterAnswer, query=DeadLettersQuery,
              unit="read", description="The one that failed last comes first. They outlive Redis."),
        Route("GET", "/admin/dlq/{letter_id}", "dead_letters.get", "Show a job that failed for good.",
              office.show, **data, unit="read", answer=DeadLetterDetails, errors=(NotFound,),
              description="With every attempt that failed and the trace of the last one."),
        Route("POST", "/admin/dlq/{letter_id}/retry", "dead_letters.retry", "Let a failed job run again.",
              office.retry, **move, answer=MovedLetterAnswer,
              description="It is handed over again, with all its attempts. Every job is safe to run again."),
        Route("DELETE", "/admin/dlq/{letter_id}", "dead_letters.discard", "Give a failed job up.",
              office.discard, **move, answer=MovedLetterAnswer,
              description="It never runs again. What a saga has begun is carried on all the same: sagas do not "
              "depend on their jobs."),
    )  # fmt: skip


async def _enable(call: Call) -> MaintenanceAnswer:
    return (await maintenance.enable(call.tx, call.actor, call.body.message)).wire()


async def _disable(call: Call) -> MaintenanceAnswer:
    await maintenance.disable(call.tx, call.actor)
    return MaintenanceAnswer(enabled=False)


async def _status(call: Call) -> MaintenanceAnswer:
    found = await maintenance.status(call.tx)
    return MaintenanceAnswer(enabled=False) if found is None else found.wire()


class _Handlers:
    def __init__(self, version: str, probes: Mapping[str, Probe], config: PublicConfig, clock: Clock) -> None:
        self._version = version
        self._probes = probes
        self._config = config
        self._clock = clock
        asked = {name: probe for name, probe in probes.items() if name in ("database", "schema", "redis")}
        self._readiness = Readiness(asked, frozenset(asked) - {"redis"}, clock)

    async def ready(self, _: Call) -> ReadyAnswer:
        found = await self._readiness.require()
        return ReadyAnswer(
            status="ready", version=self._version, dependencies=found, timestamp=to_wire(self._clock.now())
        )

    async def health(self, _: Call) -> HealthAnswer:
        return HealthAnswer(status="healthy", version=self._version, timestamp=to_wire(self._clock.now()))

    async def detailed(self, _: Call) -> DetailedHealthAnswer:
        status, dependencies = await service.examine(self._probes, self._clock)
        return DetailedHealthAnswer(
            status=status,
            version=self._version,
            dependencies=dependencies,
            timestamp=to_wire(self._clock.now()),
        )

    async def config(self, _: Call) -> ConfigAnswer:
        config = self._config
        return ConfigAnswer(
            currencies=["USD"],
            limits=LIMITS,
            features=FeaturesAnswer(
                milestones=True,
                disputes=True,
                sse=config.sse,
                airtm=config.airtm,
                trustlessWork=config.trustless_work,
            ),
            providers=ProvidersAnswer(fiat=config.fiat, escrow="trustless_work"),
            version=self._version,
        )
