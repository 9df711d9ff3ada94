"""Who may do what (contract 1.2)."""

from typing import Final

from offerhub.errors import InsufficientScope
from offerhub.runtime.actor import Actor
from offerhub.runtime.routes import Route

LEGACY_DOMAINS: Final = frozenset(
    {"users", "balance", "orders", "topups", "withdrawals", "wallet", "disputes", "escrow"}
)
"""Scopes of keys made by the existing product's installer: each means read and write in its domain."""

EVERYTHING: Final = frozenset({"*", "admin"})


def permits(actor: Actor, route: Route) -> bool:
    """True when the actor may use the route.

    `admin` and `*` hold every scope of their marketplace; what reaches beyond one (`master`) takes the master key.
    """
    needed = route.scope
    if needed in ("public", "any") or actor.kind == "master":
        return True
    if needed == "master":
        return False
    if actor.scopes & EVERYTHING or needed in actor.scopes:
        return True
    if needed == "support":
        return False
    # `events.read` is a documented scope; every domain has its like.
    if f"{route.domain}.{needed}" in actor.scopes:
        return True
    return route.domain in LEGACY_DOMAINS and route.domain in actor.scopes


def require(actor: Actor, route: Route) -> None:
    """Raise InsufficientScope unless the actor may use the route."""
    if not permits(actor, route):
        raise InsufficientScope(required_scope=route.scope, current_scopes=sorted(actor.scopes))
