"""Health: what is asked of a dependency, and what is answered (contract 2.1); and maintenance (contract 2.14)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from offerhub.kernel.clock import to_wire

Health = Literal["healthy", "degraded", "unhealthy"]


@dataclass(frozen=True, slots=True)
class Probe:
    """How to ask a dependency whether it answers.

    `check` returns when it does and raises when it does not; None says that this installation does not use it.
    `essential` tells whether the service is unhealthy without it, or only degraded.
    """

    check: Callable[[], Awaitable[None]] | None
    essential: bool = False


@dataclass(frozen=True, slots=True)
class PublicConfig:
    """What this installation offers; `fiat` names the payment provider."""

    fiat: str
    sse: bool
    airtm: bool
    trustless_work: bool


class Dependency(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dependency's answer; `latency` is in milliseconds."""

    status: Health
    latency: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Maintenance that is on: what clients are told, since when, and which credential switched it on."""

    message: str
    enabled_at: datetime
    enabled_by: str

    def wire(self) -> dict[str, Any]:
        """The state as it is answered."""
        return {
            "enabled": True,
            "message": self.message,
            "enabledAt": to_wire(self.enabled_at),
            "enabledBy": self.enabled_by,
        }
