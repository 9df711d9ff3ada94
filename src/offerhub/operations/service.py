"""Asking the dependencies, all at once and each for a bounded time."""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from offerhub.errors import NotReady
from offerhub.kernel.clock import Clock
from offerhub.operations.model import DependencyAnswer, Facts, Health, Probe, Shortcoming
from offerhub.runtime.breaker import BreakerState

PROBE_SECONDS_MAX: Final = 5.0
READY_SECONDS_MAX: Final = 2.0
"""Less than the orchestrators' usual time-outs, so that it is the answer that they see."""
READY_KEPT_SECONDS: Final = 1.0
"""However often it is asked, the servers are asked once in so long."""

log = structlog.get_logger(__name__)

_let_go: Final[set["asyncio.Task[Facts | None]"]] = set()
"""Checks that were given up and have not noticed yet; a task that nobody holds may vanish."""


async def examine(
    probes: Mapping[str, Probe], clock: Clock, *, seconds_max: float = PROBE_SECONDS_MAX
) -> tuple[Health, dict[str, DependencyAnswer]]:
    """The whole's health, and each dependency's. One that is not used does not make the whole any worse."""
    answers = await asyncio.gather(*(_ask(name, probe, clock, seconds_max) for name, probe in probes.items()))
    found = dict(zip(probes, answers, strict=True))
    used = {found[name].status for name, probe in probes.items() if probe.check is not None}
    overall: Health = "healthy"
    if "unhealthy" in used:
        overall = "unhealthy"
    elif "degraded" in used:
        overall = "degraded"
    return overall, found


class Readiness:
    """Whether this process can take requests, asked of the servers at most once a second."""

    def __init__(self, probes: Mapping[str, Probe], needed: frozenset[str], clock: Clock) -> None:
        self._probes = probes
        self._needed = needed
        self._clock = clock
        self._asked_at = 0.0
        self._asking: asyncio.Task[tuple[Health, dict[str, DependencyAnswer]]] | None = None

    async def require(self) -> dict[str, DependencyAnswer]:
        """What each dependency answered. Raises NotReady when one of the needed is unhealthy."""
        now = self._clock.monotonic()
        if self._asking is None or (self._asking.done() and now - self._asked_at > READY_KEPT_SECONDS):
            self._asked_at = now
            self._asking = asyncio.create_task(examine(self._probes, self._clock, seconds_max=READY_SECONDS_MAX))
        # Shared by everybody who asks meanwhile, and therefore not ended by one who leaves.
        _, found = await asyncio.shield(self._asking)
        if any(found[name].status == "unhealthy" for name in self._needed):
            raise NotReady(dependencies=msgspec.to_builtins(found))
        return found


async def _ask(name: str, probe: Probe, clock: Clock, seconds_max: float) -> DependencyAnswer:
    if probe.check is None:
        return DependencyAnswer(status="degraded", error="Not configured")
    failed: Health = "unhealthy" if probe.essential else "degraded"
    started = clock.monotonic()
    # In a task of its own that is not waited for: a driver that is cancelled may itself wait for a server that hangs.
    task = asyncio.ensure_future(_checked(probe))
    done, _ = await asyncio.wait({task}, timeout=seconds_max)
    if not done:
        _let_go.add(task)
        task.add_done_callback(_forget)
        task.cancel()
        return DependencyAnswer(status=failed, error=f"No answer within {seconds_max:g} s", breaker=_breaker(probe))
    latency = round((clock.monotonic() - started) * 1000, 2)
    try:
        facts = task.result() or Facts()
    except Shortcoming as shortcoming:
        log.error("probe_finding", dependency=name, finding=str(shortcoming))  # noqa: TRY400 - no error of the program
        status: Health = "unhealthy" if shortcoming.unusable and probe.essential else "degraded"
        told = shortcoming.facts
        return DependencyAnswer(
            status=status, error=str(shortcoming), breaker=_breaker(probe), lag=_lag(told), version=_version(told)
        )
    except Exception as error:  # noqa: BLE001 - whatever broke is told in one form
        # The driver's words name hosts and users: they belong in the log, not in a public answer.
        log.warning("probe_failed", dependency=name, error=repr(error))
        return DependencyAnswer(status=failed, error="Not reachable", breaker=_breaker(probe))
    breaker = _breaker(probe)
    if breaker == "open":
        # It answers again, but calls are held back until the breaker's time is over.
        return DependencyAnswer(status=failed, latency=latency, error="Calls are held back", breaker=breaker)
    return DependencyAnswer(
        status="healthy", latency=latency, breaker=breaker, lag=_lag(facts), version=_version(facts)
    )


async def _checked(probe: Probe) -> Facts | None:
    assert probe.check is not None
    return await probe.check()


def _forget(task: "asyncio.Task[Facts | None]") -> None:
    _let_go.discard(task)
    if not task.cancelled():
        task.exception()  # seen, and of no use any more


def _lag(facts: Facts) -> float | UnsetType:
    return UNSET if facts.lag is None else round(facts.lag, 1)


def _version(facts: Facts) -> int | UnsetType:
    return UNSET if facts.version is None else facts.version


def _breaker(probe: Probe) -> BreakerState | UnsetType:
    return UNSET if probe.breaker is None else probe.breaker()
