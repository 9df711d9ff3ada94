"""The routes of operations: what is public (contract 2.1), and maintenance (contract 2.14)."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta

from offerhub.errors import InsufficientScope
from offerhub.kernel.clock import Clock, SystemClock, to_wire
from offerhub.operations import maintenance, service
from offerhub.operations.model import Probe, PublicConfig
from offerhub.runtime.routes import Body, Call, Envelope, Route

LIMITS: Final = {
    "topup": {"min": "1.00", "max": "10000.00"},
    "withdrawal": {"min": "10.00", "max": "5000.00"},
    "order": {"min": "1.00", "max": "50000.00"},
}
"""Recommendations that clients show; nothing enforces them (contract 2.1)."""


class EnableMaintenance(Body):
    """What clients are told while changes are refused."""

    message: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class DisableMaintenance(Body):
    """Nothing: an empty body, or `{}`."""


def routes(
    *, version: str, probes: Mapping[str, Probe], config: PublicConfig, clock: Clock | None = None
) -> tuple[Route, ...]:
    """The public routes. `probes` are named as on the wire: database, redis, airtm, trustlessWork, stellar."""
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


def maintenance_routes() -> tuple[Route, ...]:
    """The routes that switch maintenance, for operators."""
    support: dict[str, Any] = {"scope": "support", "domain": "operations", "envelope": Envelope.DATA}
    # A switch takes no idempotency key: repeating it changes nothing, and a stored answer would tell of the past.
    switch: dict[str, Any] = {"body_optional": True, "idempotency_seconds": 0, "errors": (InsufficientScope,)}
    return (
        Route("POST", "/admin/maintenance/enable", "enableMaintenance", "Refuse changes until it is disabled.",
              _enable, **support, **switch, body=EnableMaintenance),
        Route("POST", "/admin/maintenance/disable", "disableMaintenance", "Accept changes again.",
              _disable, **support, **switch, body=DisableMaintenance),
        Route("GET", "/admin/maintenance/status", "maintenanceStatus", "Say whether changes are accepted.",
              _status, **support, unit="read"),
    )  # fmt: skip


async def _enable(call: Call) -> dict[str, Any]:
    return (await maintenance.enable(call.tx, call.actor, call.body.message)).wire()


async def _disable(call: Call) -> dict[str, Any]:
    await maintenance.disable(call.tx, call.actor)
    return {"enabled": False}


async def _status(call: Call) -> dict[str, Any]:
    found = await maintenance.status(call.tx)
    return {"enabled": False} if found is None else found.wire()


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
