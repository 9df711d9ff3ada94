"""Who asks, on whose behalf: carried by every use case into the books, the events and the audit trail."""

from typing import Any, Literal

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """The authenticated caller of one request, or the part of the system that acts by itself.

    `credential_id` is the API key's id, `master`, or the system's name such as `system:sagas`.
    `bound_user_id` is set for a key that acts for one user. `cause` is the id of the work in the background, such as
    a saga, that acts.
    """

    marketplace_id: str
    kind: Literal["api_key", "token", "master", "system", "public"]
    credential_id: str
    name: str
    scopes: frozenset[str] = frozenset()
    bound_user_id: str | None = None
    correlation_id: str | None = None
    idempotency_key: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    cause: str | None = None

    def for_audit(self) -> dict[str, Any]:
        """What the audit trail keeps of the caller."""
        return {
            "type": self.kind.upper(),
            "id": self.credential_id,
            "correlation_id": self.correlation_id,
            "idempotency_key": self.idempotency_key,
            "ip": self.ip,
            "user_agent": self.user_agent,
        }


def system(marketplace_id: str, part: str, correlation_id: str | None = None, cause: str | None = None) -> Actor:
    """The system itself, such as `system("mkt_…", "deposits")`."""
    return Actor(marketplace_id, "system", f"system:{part}", part, correlation_id=correlation_id, cause=cause)
