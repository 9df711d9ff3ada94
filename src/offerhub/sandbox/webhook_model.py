"""Endpoints that get webhooks, messages, and every attempt to deliver one."""

import ipaddress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

EVENTS: Final = (
    "payin.created",
    "payin.confirmed",
    "payin.failed",
    "payin.canceled",
    "payout.created",
    "payout.completed",
    "payout.failed",
    "payout.canceled",
)
CONNECT_EVENTS: Final = (
    "oidc.transaction.created",
    "oidc.transaction.pendingSettlement",
    "oidc.transaction.completed",
    "oidc.transaction.failed",
)
DELAYS: Final = (0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds before each attempt, from the one before it."""
TIMEOUT_SECONDS: Final = 15.0
DISABLED_AFTER_SECONDS: Final = 5 * 86_400.0
SECRETS_MAX: Final = 2


class BadEndpoint(ValueError):
    """Webhooks cannot be sent there; the text says why."""


@dataclass(slots=True)
class Endpoint:
    """Where webhooks go. Moments are Unix seconds by the sandbox's clock.

    `secrets` sign, the newest first; `types` None means all events; `bare` leaves the object alone in the body;
    `early_seconds` is how long a change is announced before it can be read; `failing_since` is the first failure
    since the last success.
    """

    id: str
    url: str
    secrets: list[str]
    types: list[str] | None = None
    bare: bool = False
    early_seconds: float = 0.0
    disabled: bool = False
    failing_since: float | None = None


@dataclass(slots=True)
class Message:
    """One event for one endpoint. `body` is the exact text that is sent and signed; `attempts` is how many were made.

    `state` is `pending`, `delivered`, `failed` (every attempt), `dropped` (by a fault) or `held` (for the next).
    """

    id: str
    endpoint: str
    type: str
    body: str
    created_at: float
    state: str = "pending"
    attempts: int = 0
    due: float = 0.0


@dataclass(slots=True)
class Attempt:
    """One delivery that was tried: `status` is the answer's, or None with the reason in `error`."""

    message: str
    endpoint: str
    type: str
    number: int
    at: float
    status: int | None
    error: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def delivered(self) -> bool:
        """A 2xx in time."""
        return self.status is not None and 200 <= self.status < 300

    def shown(self) -> dict[str, Any]:
        """As the delivery log lists it."""
        return {
            "message": self.message,
            "endpoint": self.endpoint,
            "type": self.type,
            "attempt": self.number,
            "at": self.at,
            "status": self.status,
            "error": self.error,
            "delivered": self.delivered,
            "headers": self.headers,
        }


def check_target(url: str) -> str:
    """The URL itself. Raises BadEndpoint unless it leads to this machine: nothing of a sandbox leaves it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadEndpoint("not an address of the web") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise BadEndpoint("not an address of the web")
    if host != "localhost":
        try:
            is_own = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_own = False
        if not is_own:
            raise BadEndpoint("webhooks of a sandbox go to this machine only: localhost, 127.0.0.1 or [::1]")
    return url
