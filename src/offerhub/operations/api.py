"""The public routes of operations (contract 2.1)."""

from collections.abc import Mapping
from typing import Any, Final

from offerhub.kernel.clock import Clock, SystemClock, to_wire
from offerhub.operations import service
from offerhub.operations.model import Probe, PublicConfig
from offerhub.runtime.routes import Call, Envelope, Route

LIMITS: Final = {
    "topup": {"min": "1.00", "max": "10000.00"},
    "withdrawal": {"min": "10.00", "max": "5000.00"},
    "order": {"min": "1.00", "max": "50000.00"},
}
"""Recommendations that clients show; nothing enforces them (contract 2.1)."""


def routes(
    *, version: str, probes: Mapping[str, Probe], config: PublicConfig, clock: Clock | None = None
) -> tuple[Route, ...]:
    """The routes. `probes` are named as on the wire: database, redis, airtm, trustlessWork, stellar."""
    handlers = _Handlers(version, probes, config, clock or SystemClock())
    public: dict[str, Any] = {
        "scope": "public",
        "domain": "operations",
        "envelope": Envelope.DATA,
        "unit": "none",
    }
    return (
        Route("GET", "/health", "health", "Say that the process answers.", handlers.health, **public),
        Route("GET", "/health/detailed", "healthDetailed", "Ask every dependency.", handlers.detailed, **public),
        Route("GET", "/config", "config", "Say what this installation offers.", handlers.config, **public),
    )


class _Handlers:
    def __init__(self, version: str, probes: Mapping[str, Probe], config: PublicConfig, clock: Clock) -> None:
        self._version = version
        self._probes = probes
        self._config = config
        self._clock = clock

    async def health(self, _: Call) -> dict[str, Any]:
        return {"status": "healthy", "version": self._version, "timestamp": to_wire(self._clock.now())}

    async def detailed(self, _: Call) -> dict[str, Any]:
        status, dependencies = await service.examine(self._probes, self._clock)
        return {
            "status": status,
            "version": self._version,
            "dependencies": dependencies,
            "timestamp": to_wire(self._clock.now()),
        }

    async def config(self, _: Call) -> dict[str, Any]:
        config = self._config
        return {
            "currencies": ["USD"],
            "limits": LIMITS,
            "features": {
                "milestones": True,
                "disputes": True,
                "sse": config.sse,
                "airtm": config.airtm,
                "trustlessWork": config.trustless_work,
            },
            "providers": {"fiat": config.fiat, "escrow": "trustless_work"},
            "version": self._version,
        }
