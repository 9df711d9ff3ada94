"""CORS: off unless origins are named, and then open to exactly those."""

import pytest
from edge_fixture import Stage

from asgi_client import Client, Heard
from offerhub.app import http_application, product
from offerhub.edge.cors import Cors
from offerhub.settings import load

SHOP = "https://shop.example"
FOREIGN = (
    "https://evil.example",
    "https://shop.example.evil.example",
    "http://shop.example",
    "https://shop.example:8443",
    "https://SHOP.example",
    "null",
    "",
)


def granted(heard: Heard) -> dict[str, str]:
    """The headers that a browser looks for."""
    return {name: value for name, value in heard.headers.items() if name.startswith("access-control-")}


async def preflight(client: Client, origin: str, method: str = "POST", headers: str = "authorization") -> Heard:
    """What a browser asks before it sends a request with a credential."""
    asked = [("access-control-request-method", method), ("access-control-request-headers", headers)]
    return await client.send("OPTIONS", "/api/v1/things", headers=[("origin", origin), *asked])


@pytest.fixture
def browser(stage: Stage) -> Client:
    """A page's requests to an installation that lets SHOP in; whose page it is, a test says."""
    return Client(Cors(stage.application(), (SHOP, "http://localhost:5173")), stage.credential("read", "write"))


async def test_a_named_origin_may_call(browser: Client) -> None:
    wanted = "authorization,content-type,idempotency-key,x-api-key,x-request-id,x-marketplace-id"
    for method in ("GET", "POST", "PUT", "DELETE"):
        asked = await preflight(browser, SHOP, method, wanted)
        assert asked.status == 200
        assert asked.headers["access-control-allow-origin"] == SHOP
        assert method in asked.headers["access-control-allow-methods"]
        assert "idempotency-key" in asked.headers["access-control-allow-headers"].lower()
        assert "Origin" in asked.headers["vary"]
    heard = await browser.post("/api/v1/things", {"name": "x"}, headers=[("origin", SHOP)])
    assert (heard.status, heard.headers["access-control-allow-origin"]) == (201, SHOP)
    exposed = {name.strip().lower() for name in heard.headers["access-control-expose-headers"].split(",")}
    assert {"x-request-id", "idempotency-replay", "retry-after", "x-ratelimit-remaining"} <= exposed
    assert {"x-ratelimit-limit", "x-ratelimit-reset"} <= exposed


async def test_errors_can_be_read_too(browser: Client) -> None:
    heard = await Client(browser.app).get("/data", headers=[("origin", SHOP)])
    assert (heard.status, heard.headers["access-control-allow-origin"]) == (401, SHOP)


async def test_cookies_are_never_allowed(browser: Client) -> None:
    heard = await browser.get("/data", headers=[("origin", SHOP)])
    for one in (heard, await preflight(browser, SHOP)):
        assert "access-control-allow-credentials" not in one.headers


@pytest.mark.parametrize("origin", FOREIGN)
async def test_another_origin_gets_nothing(browser: Client, origin: str) -> None:
    asked = await preflight(browser, origin)
    assert (asked.status, asked.code, granted(asked)) == (405, "METHOD_NOT_ALLOWED", {})
    heard = await browser.get("/data", headers=[("origin", origin)])
    assert (heard.status, granted(heard)) == (200, {})


async def test_what_is_no_page_sees_no_difference(browser: Client, client: Client) -> None:
    heard = await browser.get("/data")
    assert (heard.status, granted(heard)) == (200, {})
    assert (await browser.send("OPTIONS", "/data")).status == (await client.send("OPTIONS", "/data")).status == 405


@pytest.mark.parametrize(
    ("method", "headers", "fields"),
    [
        ("PATCH", "authorization", ["Access-Control-Request-Method"]),
        ("POST", "authorization,x-surprise", ["Access-Control-Request-Headers"]),
        ("PATCH", "x-surprise", ["Access-Control-Request-Method", "Access-Control-Request-Headers"]),
    ],
)
async def test_a_preflight_of_what_is_never_used_is_refused_in_json(
    browser: Client, method: str, headers: str, fields: list[str]
) -> None:
    asked = await preflight(browser, SHOP, method, headers)
    assert (asked.status, asked.code) == (400, "VALIDATION_ERROR")
    assert [fault["field"] for fault in asked.details["fields"]] == fields
    assert asked.details["requestId"] == asked.headers["x-request-id"]
    assert asked.headers["content-type"] == "application/json"
    # The page may read why.
    assert asked.headers["access-control-allow-origin"] == SHOP


async def test_a_granted_preflight_is_json_as_well(browser: Client) -> None:
    asked = await preflight(browser, SHOP)
    assert (asked.status, asked.json, asked.headers["content-type"]) == (200, {}, "application/json")
    assert asked.headers["x-request-id"]


async def test_a_star_opens_it_to_all_without_naming_anyone(stage: Stage) -> None:
    browser = Client(Cors(stage.application(), ("*",)), stage.credential("read"))
    heard = await browser.get("/data", headers=[("origin", "https://anyone.example")])
    assert heard.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in heard.headers


@pytest.mark.parametrize(
    ("variables", "allowed"),
    [
        ({}, None),
        ({"ALLOWED_ORIGINS": ""}, None),
        ({"ALLOWED_ORIGINS": f"https://a.example, {SHOP}/"}, SHOP),
        ({"CORS_ORIGIN": SHOP}, SHOP),
        ({"CORS_ORIGIN": SHOP, "ALLOWED_ORIGINS": "https://a.example"}, None),
    ],
)
async def test_the_product_is_closed_unless_it_is_opened(
    database_url: str, redis_url: str, variables: dict[str, str], allowed: str | None
) -> None:
    environ = {"OFFERHUB_MASTER_KEY": "m" * 32, "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    async with product(load(environ | variables)) as made, http_application(made) as app:
        heard = await Client(app).get("/api/v1/health", headers=[("origin", SHOP)])
        asked = await preflight(Client(app), SHOP)
    assert heard.headers.get("access-control-allow-origin") == allowed
    assert asked.headers.get("access-control-allow-origin") == allowed
    assert asked.status == (404 if allowed is None else 200)
