"""Asking the dependencies, all at once and each for a bounded time."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog
from msgspec import UNSET, UnsetType

from offerhub.kernel.clock import Clock
from offerhub.operations.model import DependencyAnswer, Finding, Health, Probe
from offerhub.runtime.breaker import BreakerState

PROBE_SECONDS_MAX: Final = 5.0

log = structlog.get_logger(__name__)


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


async def _ask(name: str, probe: Probe, clock: Clock, seconds_max: float) -> DependencyAnswer:
    if probe.check is None:
        return DependencyAnswer(status="degraded", error="Not configured")
    failed: Health = "unhealthy" if probe.essential else "degraded"
    started = clock.monotonic()
    try:
        async with asyncio.timeout(seconds_max):
            lag = _lag(await probe.check())
    except Finding as finding:
        log.error("probe_finding", dependency=name, finding=str(finding))  # noqa: TRY400 - no error of the program
        told = str(finding)
        return DependencyAnswer(status="degraded", error=told, breaker=_breaker(probe), lag=_lag(finding.lag))
    except TimeoutError:
        return DependencyAnswer(status=failed, error=f"No answer within {seconds_max:g} s", breaker=_breaker(probe))
    except Exception as error:  # noqa: BLE001 - whatever broke is told in one form
        # The driver's words name hosts and users: they belong in the log, not in a public answer.
        log.warning("probe_failed", dependency=name, error=repr(error))
        return DependencyAnswer(status=failed, error="Not reachable", breaker=_breaker(probe))
    latency = round((clock.monotonic() - started) * 1000, 2)
    breaker = _breaker(probe)
    if breaker == "open":
        # It answers again, but calls are held back until the breaker's time is over.
        return DependencyAnswer(status=failed, latency=latency, error="Calls are held back", breaker=breaker)
    return DependencyAnswer(status="healthy", latency=latency, breaker=breaker, lag=lag)


def _lag(seconds: float | None) -> float | UnsetType:
    return UNSET if seconds is None else round(seconds, 1)


def _breaker(probe: Probe) -> BreakerState | UnsetType:
    return UNSET if probe.breaker is None else probe.breaker()
