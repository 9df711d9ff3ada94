"""Contract 1.11 and 2.14: maintenance."""

from collections.abc import AsyncIterator
from typing import Final

import pytest

from support.outside import eventually
from support.product import MASTER_KEY, Marketplace, Running, running, unique
from support.routes import NOWHERE, all_routes, body_for, path_with
from support.wire import TEXT, TIME, check, opened

CHANGING: Final = [
    route for route in all_routes() if route.method != "GET" and not route.path.startswith("/admin/maintenance/")
]
READING: Final = [
    route for route in all_routes() if route.method == "GET" and route.media_type != "text/event-stream"
]
ENABLED: Final = {"enabled": (True,), "message": TEXT, "enabledAt": TIME, "enabledBy": ("master",)}


@pytest.fixture
async def operator(shop: Marketplace) -> AsyncIterator[Marketplace]:
    """The master key; maintenance ends with the test, at every process."""
    master = shop.using(MASTER_KEY)
    yield master
    await master.done("POST", "/admin/maintenance/disable", raw=b"")
    await accepted(shop, 201)


async def accepted(shop: Marketplace, status: int) -> None:
    """Wait until a change is answered with this status."""

    async def change() -> int:
        return (await shop.post("/users", {"externalUserId": unique("change")})).status

    await eventually(change, lambda found: found == status)


@pytest.mark.claims(
    "POST /admin/maintenance/enable", "POST /admin/maintenance/disable", "GET /admin/maintenance/status"
)
async def test_maintenance(shop: Marketplace, operator: Marketplace, environ: dict[str, str]) -> None:
    status = "/admin/maintenance/status"
    assert opened(await operator.get(status), "DATA", {"enabled": bool})["enabled"] is False
    body = {"message": "Moving house."}
    on = opened(await operator.post("/admin/maintenance/enable", body), "DATA", ENABLED)
    assert on["message"] == "Moving house."
    assert opened(await operator.get(status), "DATA", ENABLED) == on
    await accepted(shop, 503)
    counted = await shop.counts()
    for route in CHANGING:
        # The deployment's own operator is stopped as well.
        for caller in (shop, operator) if route.scope != "master" else (operator,):
            heard = await caller.send(route.method, path_with(route, NOWHERE), body_for(route), key=unique("key"))
            assert (heard.status, heard.code) == (503, "MAINTENANCE_MODE"), (route.path, heard.body)
            assert (heard.details["message"], heard.details["enabledAt"]) == ("Moving house.", on["enabledAt"])
            assert 0 < int(heard.headers["retry-after"]) <= 10
    for route in READING:
        heard = await operator.get(path_with(route, NOWHERE)) if route.name != "topups.callback" else None
        assert heard is None or heard.status != 503, route.path
    assert await shop.counts() == counted
    await shop.using("").refused("POST", "/users", {}, status=401, code="UNAUTHORIZED")

    # It is in the database: a process that starts now knows it.
    async with running(environ, jobs=False) as later:
        await later_refuses(shop, later)
    off = opened(
        await operator.post("/admin/maintenance/disable", raw=b"", headers={"content-type": "application/json"}),
        "DATA",
        {"enabled": bool},
    )
    assert off == {"enabled": False}
    await accepted(shop, 201)
    trail = [row["action"] for row in await shop.live.rows("SELECT action FROM audit_entries ORDER BY id")]
    assert {"MAINTENANCE_ENABLED", "MAINTENANCE_DISABLED"} <= set(trail)


async def later_refuses(shop: Marketplace, later: Running) -> None:
    details = await shop.on(later).refused(
        "POST", "/users", {"externalUserId": unique("u")}, status=503, code="MAINTENANCE_MODE"
    )
    check(details["enabledAt"], TIME)


async def test_a_refused_change_has_not_used_its_key(shop: Marketplace, operator: Marketplace) -> None:
    await operator.done("POST", "/admin/maintenance/enable")
    await accepted(shop, 503)
    body, key = {"externalUserId": unique("u")}, unique("key")
    assert (await shop.post("/users", body, key=key)).status == 503
    await operator.done("POST", "/admin/maintenance/disable", raw=b"")
    await accepted(shop, 201)
    heard = await shop.post("/users", body, key=key)
    assert (heard.status, "idempotency-replay" in heard.headers) == (201, False)
