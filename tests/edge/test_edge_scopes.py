"""Who may do what, and how callers say who they are."""

import pytest
from edge_fixture import Stage

from asgi_client import Client
from offerhub.edge.scopes import permits
from offerhub.runtime.actor import Actor
from offerhub.runtime.routes import Envelope, Route


async def nothing(call: object) -> None:
    return None


def may(scopes: set[str], needed: str, domain: str = "orders", kind: str = "api_key") -> bool:
    actor = Actor("mkt", kind, "key", "name", frozenset(scopes))  # type: ignore[arg-type]
    route = Route("GET", "/", "r", "", nothing, needed, domain, Envelope.DATA)  # type: ignore[arg-type]
    return permits(actor, route)


ALL = ("public", "any", "read", "write", "support")


@pytest.mark.parametrize(
    ("scopes", "domain", "allowed"),
    [
        (set(), "orders", {"public", "any"}),
        ({"read"}, "orders", {"public", "any", "read"}),
        ({"write"}, "orders", {"public", "any", "write"}),
        ({"support"}, "orders", {"public", "any", "support"}),
        ({"orders"}, "orders", {"public", "any", "read", "write"}),
        ({"orders"}, "users", {"public", "any"}),
        ({"access"}, "access", {"public", "any"}),
        ({"events"}, "events", {"public", "any"}),
        ({"events.read"}, "events", {"public", "any", "read"}),
        ({"events.read"}, "orders", {"public", "any"}),
        ({"orders.support"}, "orders", {"public", "any"}),
        ({"*"}, "orders", set(ALL)),
        ({"admin"}, "orders", set(ALL)),
        ({"master"}, "orders", {"public", "any"}),
    ],
)
def test_the_matrix(scopes: set[str], domain: str, allowed: set[str]) -> None:
    assert {needed for needed in (*ALL, "master") if may(scopes, needed, domain)} == allowed


def test_the_master_key_may_everything() -> None:
    assert all(may({"read"}, needed, kind="master") for needed in (*ALL, "master"))


async def test_a_missing_scope_is_told(stage: Stage) -> None:
    client = Client(stage.application(), stage.credential("read", "events.read"))
    heard = await client.post("/bare")
    assert (heard.status, heard.code) == (403, "INSUFFICIENT_SCOPE")
    assert heard.details["required_scope"] == "write"
    assert heard.details["current_scopes"] == ["events.read", "read"]
    assert stage.runs == 0


async def test_the_scope_is_checked_before_the_body_and_the_key(stage: Stage) -> None:
    client = Client(stage.application(), stage.credential("read"))
    assert (await client.post("/things", raw=b"{", key="a\tb")).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", "Basic dXNlcg==")],
        [("x-api-key", "")],
        [("x-api-key", "a"), ("x-api-key", "b")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
    ],
)
async def test_missing_and_malformed_credentials(stage: Stage, headers: list[tuple[str, str]]) -> None:
    stage.actors["a"] = stage.actors["b"] = Actor("mkt", "api_key", "key", "name", frozenset({"*"}))
    heard = await Client(stage.application()).get("/any", headers=headers)
    assert (heard.status, heard.code) == (401, "UNAUTHORIZED")
    assert heard.headers["www-authenticate"] == "Bearer"


async def test_an_unknown_credential(stage: Stage) -> None:
    heard = await Client(stage.application(), "nobody").get("/any")
    assert (heard.status, heard.code) == (401, "INVALID_API_KEY")


async def test_both_headers_are_taken_and_authorization_wins(stage: Stage) -> None:
    good, nobody = stage.credential("read"), Client(stage.application())
    assert (await nobody.get("/any", headers=[("x-api-key", good)])).status == 200
    assert (await nobody.get("/any", headers=[("authorization", f"bearer {good}")])).status == 200
    both = [("authorization", "Bearer wrong"), ("x-api-key", good)]
    assert (await nobody.get("/any", headers=both)).status == 401


async def test_public_routes_ask_for_nothing(stage: Stage) -> None:
    assert (await Client(stage.application()).get("/open")).status == 200
    assert (await Client(stage.application(), "nobody").get("/open")).status == 200
