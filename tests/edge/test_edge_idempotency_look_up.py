"""Asking what became of an idempotency key: one's own only, and never the answer itself."""

import secrets
from datetime import datetime, timedelta
from typing import Any

import pytest
from edge_fixture import Stage

from asgi_client import Client
from offerhub.edge import api
from offerhub.errors import OrderNotFound, ProviderTimeout
from offerhub.kernel.ids import new_id
from offerhub.runtime.database import Tx


@pytest.fixture
def app(stage: Stage) -> Any:
    """The application, with the route."""
    return stage.application(routes=(*stage.routes(), *api.routes()))


@pytest.fixture
def client(stage: Stage, app: Any) -> Client:
    """A caller who may write."""
    return Client(app, stage.credential("read", "write"))


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return secrets.token_hex(8)


async def test_a_completed_request(client: Client, key: str) -> None:
    assert (await client.get(f"/idempotency/{key}")).status == 404
    assert (await client.post("/api/v1/things", {"name": "x"}, key=key)).status == 201
    heard = await client.get(f"/api/v1/idempotency/{key}")
    assert (heard.status, set(heard.json)) == (200, {"data", "meta"})
    found = heard.data
    created, completed, expires = (
        datetime.fromisoformat(found.pop(name)) for name in ("createdAt", "completedAt", "expiresAt")
    )
    assert found == {"key": key, "status": "COMPLETED", "method": "POST", "path": "/things", "responseStatus": 201}
    assert created <= completed < expires
    assert timedelta(hours=23) < expires - created < timedelta(hours=25)


async def test_a_stored_refusal_is_completed_and_a_fault_is_forgotten(stage: Stage, client: Client, key: str) -> None:
    stage.raises = ProviderTimeout()
    assert (await client.post("/bare", key=key)).status == 504
    assert (await client.get(f"/idempotency/{key}")).status == 404
    stage.raises = OrderNotFound()
    assert (await client.post("/bare", key=key)).status == 404
    found = (await client.get(f"/idempotency/{key}")).data
    assert (found["status"], found["responseStatus"]) == ("COMPLETED", 404)


async def test_a_request_whose_saga_runs_is_in_progress(stage: Stage, client: Client, key: str) -> None:
    stage.sagas.running = True
    assert (await client.post("/started", {}, key=key)).status == 202
    found = (await client.get(f"/idempotency/{key}")).data
    assert (found["status"], found["responseStatus"], found["completedAt"]) == ("IN_PROGRESS", None, None)
    stage.sagas.running = False
    await client.post("/started", {}, key=key)
    found = (await client.get(f"/idempotency/{key}")).data
    assert (found["status"], found["responseStatus"]) == ("COMPLETED", 202)


async def test_the_answer_is_not_told(stage: Stage, client: Client, key: str) -> None:
    stage.result = {"id": "thing", "key": "ohk_the_secret"}
    for path in ("/bare", "/secret"):
        await client.post(path, key=key + path[1:])
        heard = await client.get(f"/idempotency/{key}{path[1:]}")
        assert heard.data["responseStatus"] == 200
        assert b"ohk_the_secret" not in heard.body


async def test_keys_of_others_are_unknown(stage: Stage, app: Any, client: Client, key: str) -> None:
    await client.post("/bare", key=key)
    for other in (stage.credential("*"), stage.credential(kind="master")):
        found = await Client(app, other).get(f"/idempotency/{key}")
        unknown = await Client(app, other).get("/idempotency/unknown")
        assert (found.status, found.code) == (404, "NOT_FOUND")
        assert found.body.replace(key.encode(), b"unknown")[:120] == unknown.body[:120]
    assert (await Client(app).get(f"/idempotency/{key}")).status == 401


async def test_the_master_key_has_keys_for_each_marketplace(stage: Stage, app: Any, key: str) -> None:
    marketplace_id = new_id("mkt")

    async def inserting(tx: Tx) -> None:
        await tx.execute("INSERT INTO marketplaces (id, name) VALUES ($1, $1)", marketplace_id)

    await stage.database.run(inserting)
    master, there = Client(app, stage.credential(kind="master")), [("x-marketplace-id", marketplace_id)]
    await master.post("/bare", key=key, headers=there)
    assert (await master.get(f"/idempotency/{key}", headers=there)).status == 200
    assert (await master.get(f"/idempotency/{key}")).status == 404


async def test_it_takes_no_scope(stage: Stage, app: Any, key: str) -> None:
    idle = Client(app, stage.credential())
    assert (await idle.get(f"/idempotency/{key}")).status == 404


async def test_a_key_whose_time_is_over_is_unknown(stage: Stage, client: Client, key: str) -> None:
    await client.post("/bare", key=key)

    async def aging(tx: Tx) -> None:
        await tx.execute("UPDATE idempotent_requests SET expires_at = now() WHERE key = $1", key)

    await stage.database.run(aging)
    assert (await client.get(f"/idempotency/{key}")).status == 404


@pytest.mark.parametrize(("key", "path"), [("an order: 7%", "an%20order:%207%25"), ("ünïcode", "%C3%BCn%C3%AFcode")])
async def test_keys_are_percent_encoded_in_the_path(client: Client, key: str, path: str) -> None:
    if key.isascii():
        await client.post("/bare", key=key)
    heard = await client.get(f"/idempotency/{path}")
    assert heard.status == (200 if key.isascii() else 404)
