"""Contract 1.2: every route beside every scope, from a table of its own.

The table is written from the contract, not from the routes: a route that it does not know fails.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import pytest

from asgi_client import Heard
from offerhub.access.model import key_id_of
from support.product import MASTER_KEY, Marketplace
from support.routes import NOWHERE, all_routes, body_for, path_with

Needed = Literal["public", "any", "read", "write", "support", "master"]


class Guard(NamedTuple):
    """What a route needs; `domain` is the legacy scope, or the group, whose keys may use it too."""

    scope: Needed
    domain: str | None = None


OF_BALANCE: Final = "/users/{user_id}/balance"
OF_ENDPOINT: Final = "/webhook-endpoints/{endpoint_id}"
OF_WALLET: Final = "/users/{user_id}/wallet"
GUARDS: Final[Mapping[str, Guard]] = {
    **dict.fromkeys(("GET /health", "GET /health/detailed", "GET /ready", "GET /config"), Guard("public")),
    **dict.fromkeys(("GET /docs", "GET /openapi.json", "GET /topups/{topup_id}/callback"), Guard("public")),
    **dict.fromkeys(("GET /auth/me", "GET /me", "GET /idempotency/{key}"), Guard("any")),
    "POST /auth/api-keys": Guard("support"),
    "GET /auth/api-keys": Guard("support"),
    "DELETE /auth/api-keys/{key_id}": Guard("support"),
    "POST /auth/api-keys/{key_id}/token": Guard("write"),
    "POST /admin/marketplaces": Guard("master"),
    "GET /admin/marketplaces": Guard("master"),
    "POST /users": Guard("write", "users"),
    "GET /users": Guard("read", "users"),
    "GET /users/{user_id}": Guard("read", "users"),
    "POST /users/{user_id}/airtm/link": Guard("write", "users"),
    f"GET {OF_BALANCE}": Guard("read", "balance"),
    f"GET {OF_BALANCE}/verify": Guard("read", "balance"),
    **{
        f"POST {OF_BALANCE}/{operation}": Guard("write", "balance")
        for operation in (
            *("credit", "debit", "reserve", "release", "cancel-reservation", "deduct-reserved", "sync"),
        )
    },
    **{f"GET {OF_WALLET}{tail}": Guard("read", "wallet") for tail in ("", "/deposit", "/transactions")},
    "POST /topups": Guard("write", "topups"),
    "GET /topups": Guard("read", "topups"),
    "GET /topups/{topup_id}": Guard("read", "topups"),
    "POST /topups/{topup_id}/refresh": Guard("read", "topups"),
    "POST /topups/{topup_id}/cancel": Guard("write", "topups"),
    "POST /withdrawals": Guard("write", "withdrawals"),
    "GET /withdrawals": Guard("read", "withdrawals"),
    "GET /withdrawals/{withdrawal_id}": Guard("read", "withdrawals"),
    "POST /withdrawals/{withdrawal_id}/commit": Guard("write", "withdrawals"),
    "POST /withdrawals/{withdrawal_id}/refresh": Guard("read", "withdrawals"),
    "POST /withdrawals/{withdrawal_id}/cancel": Guard("write", "withdrawals"),
    "DELETE /withdrawals/{withdrawal_id}": Guard("write", "withdrawals"),
    "GET /orders": Guard("read", "orders"),
    "GET /orders/{order_id}": Guard("read", "orders"),
    "GET /orders/{order_id}/milestones": Guard("read", "orders"),
    **{
        f"POST /orders{tail}": Guard("write", "orders")
        for tail in (
            "",
            *(f"/{{order_id}}/{move}" for move in ("reserve", "cancel", "escrow", "escrow/fund")),
            *(f"/{{order_id}}/{move}" for move in ("resolution/release", "resolution/refund")),
            *(f"/{{order_id}}/milestones/{{ref}}/{move}" for move in ("complete", "release", "refund")),
        )
    },
    "POST /orders/{order_id}/resolution/dispute": Guard("write", "disputes"),
    "GET /disputes": Guard("read", "disputes"),
    "GET /disputes/{dispute_id}": Guard("read", "disputes"),
    "POST /disputes/{dispute_id}/assign": Guard("support"),
    "POST /disputes/{dispute_id}/resolve": Guard("support"),
    "GET /events": Guard("read", "events"),
    "GET /events/log": Guard("read", "events"),
    "GET /policies": Guard("support"),
    "PUT /policies": Guard("support"),
    "GET /audit/logs": Guard("support"),
    **{f"POST /admin/maintenance/{switch}": Guard("support") for switch in ("enable", "disable")},
    "GET /admin/maintenance/status": Guard("support"),
    **{
        f"{method} /admin/{path}": Guard("support")
        for method, path in (
            ("GET", "queues"),
            ("GET", "queues/schedules"),
            ("GET", "stuck"),
            ("GET", "dlq"),
            ("GET", "dlq/{letter_id}"),
            ("POST", "dlq/{letter_id}/retry"),
            ("DELETE", "dlq/{letter_id}"),
            ("POST", "reconciliation/{job}/run"),
            ("GET", "reconciliation/runs"),
            ("GET", "reconciliation/findings"),
            ("GET", "reconciliation/findings/{finding_id}"),
            ("POST", "reconciliation/findings/{finding_id}/acknowledge"),
            ("POST", "reconciliation/findings/{finding_id}/resolve"),
            ("GET", "treasury"),
            ("POST", "treasury/transfers"),
            ("POST", "treasury/rebalancings"),
        )
    },
    "GET /metrics": Guard("read", "metrics"),
    "POST /webhook-endpoints": Guard("write", "webhooks"),
    "GET /webhook-endpoints": Guard("read", "webhooks"),
    f"GET {OF_ENDPOINT}": Guard("read", "webhooks"),
    f"DELETE {OF_ENDPOINT}": Guard("write", "webhooks"),
    **{
        f"POST {OF_ENDPOINT}{tail}": Guard("write", "webhooks")
        for tail in ("", "/rotate-secret", "/test", "/redeliver", "/fetch", "/deliveries/{delivery_id}/redeliver")
    },
    f"GET {OF_ENDPOINT}/deliveries": Guard("read", "webhooks"),
    f"GET {OF_ENDPOINT}/deliveries/{{delivery_id}}": Guard("read", "webhooks"),
    "POST /webhooks/airtm": Guard("public"),
    "POST /webhooks/trustless-work": Guard("public"),
}

LEGACY: Final = ("users", "balance", "orders", "topups", "withdrawals", "wallet", "disputes", "escrow")
SCOPES: Final = (
    *("read", "write", "support", "*", "admin"),
    *LEGACY,
    *("events.read", "metrics.read", "webhooks.read", "webhooks.write", "orders.read", "users.write"),
    "",
)
INSTALLATION: Final = (
    "/admin/maintenance/",
    "/admin/queues",
    "/admin/dlq",
    "/admin/reconciliation",
    "/admin/treasury",
    "/metrics",
    "/admin/stuck",
)
"""What concerns the whole installation: beside the scope it takes the default marketplace (contract 1.11)."""
FOR_ALL: Final = "/admin/maintenance/status"
ROUTES: Final = {f"{route.method} {route.path}": route for route in all_routes()}


def allowed(guard: Guard, scope: str) -> bool:
    """What contract 1.2 says."""
    if guard.scope in ("public", "any"):
        return True
    if guard.scope == "master":
        return False
    if scope in ("*", "admin", guard.scope):
        return True
    if guard.scope == "support" or guard.domain is None:
        return False
    return scope == f"{guard.domain}.{guard.scope}" or scope == guard.domain in LEGACY


def test_the_table_knows_every_route() -> None:
    assert set(ROUTES) == set(GUARDS), "a route is new, or is gone"


@pytest.fixture(scope="module")
async def holders(shop: Marketplace) -> dict[str, Marketplace]:
    """A key for each scope, and what holds none."""
    return {scope: await shop.with_key(*([scope] if scope else [])) for scope in SCOPES}


@pytest.mark.parametrize("name", sorted(GUARDS))
async def test_a_route_beside_every_scope(
    shop: Marketplace, holders: dict[str, Marketplace], name: str, mended: None
) -> None:
    route, guard = ROUTES[name], GUARDS[name]
    path, body = path_with(route, NOWHERE), body_for(route)
    installation = path.startswith(INSTALLATION) and path != FOR_ALL

    async def ask(scope: str) -> Heard:
        own = key_id_of(holders[scope].credential)
        assert own is not None
        # A token is for one's own key; for another's, `write` alone is not enough.
        asked = path_with(route, {**NOWHERE, "key_id": own}) if route.name == "api_keys.issue_token" else path
        return await holders[scope].send(route.method, asked, body, key=None if installation else f"{name} {scope}")

    # A key may see the switch of maintenance; turning it, and all else of the installation, takes more than a scope.
    fit = [scope for scope in SCOPES if allowed(guard, scope) and not installation]
    for scope, heard in zip(fit, await asyncio.gather(*map(ask, fit)), strict=True):
        # Where a signature is the credential, no key stands in for it.
        assert heard.status not in (401, 403) or (route.raw and heard.code == "WEBHOOK_SIGNATURE_INVALID"), scope
    unfit = [scope for scope in SCOPES if scope not in fit]
    before = await shop.counts()
    for scope, heard in zip(unfit, await asyncio.gather(*map(ask, unfit)), strict=True):
        if allowed(guard, scope) and heard.status == 404:
            continue  # an id of the installation is unknown to a marketplace among many
        assert (heard.status, heard.code) == (403, "INSUFFICIENT_SCOPE"), (scope, heard.body)
        if not allowed(guard, scope):
            told: dict[str, Any] = heard.details
            assert (told["required_scope"], told["current_scopes"]) == (guard.scope, [scope] if scope else [])
    assert await shop.counts() == before


@pytest.mark.parametrize("name", sorted(name for name, guard in GUARDS.items() if guard.scope != "public"))
async def test_nobody_and_the_master_key(shop: Marketplace, name: str) -> None:
    route = ROUTES[name]
    path, body = path_with(route, NOWHERE), body_for(route)
    await shop.using("").refused(route.method, path, body, status=401, code="UNAUTHORIZED")
    if not path.startswith(INSTALLATION) or path == FOR_ALL:
        at = {"x-marketplace-id": shop.id}
        assert (await shop.using(MASTER_KEY).send(route.method, path, body, headers=at)).status not in (401, 403)


@pytest.mark.parametrize("name", sorted(name for name, guard in GUARDS.items() if guard.scope == "public"))
async def test_what_is_public_asks_for_nothing(shop: Marketplace, name: str) -> None:
    route = ROUTES[name]
    heard = await shop.using("").send(route.method, path_with(route, NOWHERE))
    # Where a signature is the credential, a message without one is refused, or has no effect.
    assert heard.status in ((200, 401) if route.raw else (200, 302, 404))
