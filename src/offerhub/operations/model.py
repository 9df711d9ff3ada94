"""Health: what is asked of a dependency, and what is answered (contract 2.1)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

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
