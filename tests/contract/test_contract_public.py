"""Contract 2.1: what anybody may ask."""

import re

import pytest

from support.product import Marketplace
from support.wire import TIME, Omittable, opened

DEPENDENCY = {
    "status": ("healthy", "degraded", "unhealthy"),
    "latency": Omittable(float),
    "error": Omittable(str),
    "breaker": Omittable(("closed", "open", "half_open")),
    "lag": Omittable(float),
    "version": Omittable(int),
}
RANGE = {"min": re.compile(r"[0-9]+\.[0-9]{2}"), "max": re.compile(r"[0-9]+\.[0-9]{2}")}
VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+.*")


@pytest.mark.claims("GET /health", "GET /health/detailed", "GET /ready", "GET /config")
async def test_health_and_configuration(shop: Marketplace) -> None:
    await shop.live.system_is_ready()
    nobody = shop.using("")
    health = {"status": ("healthy",), "version": VERSION, "timestamp": TIME}
    opened(await nobody.get("/health"), "DATA", health)

    required = ("database", "schema", "redis")
    names = (*required, "queue", "airtm", "trustlessWork", "stellar", "stellarRpc", "deposits")
    form = {**health, "dependencies": dict.fromkeys(names, DEPENDENCY)}
    found = opened(await nobody.get("/health/detailed"), "DATA", form)
    ready = {**health, "status": ("ready",), "dependencies": dict.fromkeys(required, DEPENDENCY)}
    opened(await nobody.get("/ready"), "DATA", ready)
    unused = found["dependencies"]["airtm"]
    assert (unused["status"], unused["error"]) == ("degraded", "Not configured"), "unused, and the whole is healthy"

    config = opened(
        await nobody.get("/config"),
        "DATA",
        {
            "currencies": [("USD",)],
            "limits": dict.fromkeys(("topup", "withdrawal", "order"), RANGE),
            "features": dict.fromkeys(("milestones", "disputes", "sse", "airtm", "trustlessWork"), bool),
            "providers": {"fiat": ("crypto", "airtm"), "escrow": ("trustless_work",)},
            "version": VERSION,
        },
    )
    assert config["currencies"] == ["USD"]
    assert config["limits"] == {
        "topup": {"min": "1.00", "max": "10000.00"},
        "withdrawal": {"min": "10.00", "max": "5000.00"},
        "order": {"min": "1.00", "max": "50000.00"},
    }
    assert config["version"] == found["version"]


@pytest.mark.claims("GET /openapi.json", "GET /docs")
async def test_the_documentation_needs_no_credential(shop: Marketplace) -> None:
    assert (await shop.using("").get("/openapi.json")).json["openapi"].startswith("3.1")
    assert (await shop.using("").get("/docs")).headers["content-type"].startswith("text/html")


async def test_what_is_public_does_not_look_at_credentials(shop: Marketplace) -> None:
    for path in ("/health", "/config"):
        assert (await shop.using("ohk_live_nonsense").get(path)).status == 200
