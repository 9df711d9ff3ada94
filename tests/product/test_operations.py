"""What the service says of itself (contract 2.1), with real servers behind it."""

import pytest

from support.outside import World
from support.product import Marketplace


async def test_every_dependency_that_is_used_is_healthy(shop: Marketplace) -> None:
    await shop.live.system_is_ready()
    found = await shop.using("").done("GET", "/health/detailed")
    assert found["status"] == "healthy", found
    unused = found["dependencies"].pop("airtm")
    assert (unused["status"], unused["error"]) == ("degraded", "Not configured")
    used = {"database", "schema", "redis", "queue", "trustlessWork", "stellar", "stellarRpc", "deposits"}
    assert set(found["dependencies"]) == used
    assert {one["status"] for one in found["dependencies"].values()} == {"healthy"}
    assert (await shop.using("").done("GET", "/health"))["status"] == "healthy"
    assert (await shop.using("").done("GET", "/ready"))["status"] == "ready"


@pytest.mark.usefixtures("mended")
async def test_a_provider_that_is_away_degrades_it(shop: Marketplace, world: World) -> None:
    fault = await world.fault("horizon", "/ledgers", "error_before", times=1)
    found = await shop.done("GET", "/health/detailed")
    assert await fault.fired() == 1
    assert found["status"] == found["dependencies"]["stellar"]["status"] == "degraded"
    assert "127.0.0.1" not in str(found), "where things are is nobody's business"


async def test_what_is_offered(shop: Marketplace) -> None:
    found = await shop.using("").done("GET", "/config")
    assert found["features"] == {
        "milestones": True,
        "disputes": True,
        "sse": True,
        "airtm": False,
        "trustlessWork": True,
    }
    assert found["providers"] == {"fiat": "crypto", "escrow": "trustless_work"}


async def test_the_request_id_reaches_the_audit_trail(shop: Marketplace) -> None:
    heard = await shop.post("/users", {"externalUserId": "traced"}, headers={"x-request-id": "trace-me-1"})
    assert heard.headers["x-request-id"] == heard.json["meta"]["requestId"] == "trace-me-1"
    sql = "SELECT DISTINCT correlation_id FROM audit_entries WHERE marketplace_id = $1 AND resource_id = $2"
    rows = await shop.live.rows(sql, shop.id, heard.data["id"])
    assert [row["correlation_id"] for row in rows] == ["trace-me-1"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/orders/x/nothing", 404, "NOT_FOUND"),
        ("DELETE", "/orders", 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/users", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_what_is_not_there(shop: Marketplace, method: str, path: str, status: int, code: str) -> None:
    await shop.refused(method, path, status=status, code=code)
