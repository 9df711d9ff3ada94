"""The audit trail over HTTP: who may read it, what a page holds, and what the filters find."""

from typing import Any
from urllib.parse import quote

import pytest
from audit_archive import MASTER_KEY, Archive

from asgi_client import Client
from offerhub.kernel.ids import new_id
from offerhub.runtime.database import Tx

FIELDS = {
    *("id", "occurredAt", "action", "resourceType", "resourceId", "userId", "payloadBefore", "payloadAfter"),
    *("actorType", "actorId", "result", "correlationId"),
}


async def write(archive: Archive, action: str, **more: Any) -> str:
    """An entry of its own making; returns its id."""
    entry_id = new_id("aud")

    async def inserting(tx: Tx) -> None:
        columns = {
            "id": entry_id,
            "marketplace_id": archive.marketplace_id,
            "action": action,
            "resource_type": "Order",
            "resource_id": "ord_1",
            "actor_type": "SYSTEM",
            "actor_id": "system:test",
            "result": "SUCCESS",
            **more,
        }
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        await tx.execute(f"INSERT INTO audit_entries ({', '.join(columns)}) VALUES ({places})", *columns.values())

    await archive.database.run(inserting)
    return entry_id


async def test_an_entry_says_who_did_what(archive: Archive) -> None:
    headers = [("x-request-id", "trace-me"), ("x-marketplace-id", archive.marketplace_id)]
    master = Client(archive.app, MASTER_KEY)
    made = (await master.post("/auth/api-keys", {"name": "till", "scopes": ["read"]}, headers=headers)).data
    heard = await archive.support.get(f"/audit/logs?resourceId={made['id']}&action=API_KEY_CREATED")
    assert set(heard.json) == {"data", "pagination", "meta"}
    assert heard.json["pagination"] == {"hasMore": False, "nextCursor": None}
    (entry,) = heard.data
    assert set(entry) == FIELDS
    assert (entry["resourceType"], entry["resourceId"], entry["result"]) == ("ApiKey", made["id"], "SUCCESS")
    assert (entry["actorType"], entry["actorId"], entry["correlationId"]) == ("MASTER", "master", "trace-me")
    assert (entry["payloadBefore"], entry["payloadAfter"]["name"]) == (None, "till")
    assert entry["id"].startswith("aud_")
    assert made["key"] not in heard.body.decode()


async def test_a_refused_request_leaves_nothing(archive: Archive) -> None:
    made = await archive.key("support")
    issued = await archive.caller(made).post(f"/auth/api-keys/{made['id']}/token", {})
    assert issued.status == 403  # the scope `write` is missing: nothing was done, nothing is told
    assert {entry["action"] for entry in await archive.logs(f"?resourceId={made['id']}")} == {
        "API_KEY_CREATED",
        "api_key.created",
    }


@pytest.mark.parametrize(
    ("scopes", "status"),
    [(["support"], 200), (["*"], 200), (["admin"], 200), (["read", "write"], 403), (["users"], 403), ([], 403)],
)
async def test_it_takes_the_scope_support(archive: Archive, scopes: list[str], status: int) -> None:
    assert (await archive.caller(await archive.key(*scopes)).get("/audit/logs")).status == status
    assert (await Client(archive.app).get("/audit/logs")).status == 401


async def test_a_marketplace_sees_its_own(archive: Archive) -> None:
    entry = await write(archive, "MINE")
    master = Client(archive.app, MASTER_KEY)
    name = {"name": f"other of {archive.marketplace_id}"}
    other = (await master.post("/admin/marketplaces", name)).data["id"]
    elsewhere = [("x-marketplace-id", other)]
    assert entry in {one["id"] for one in await archive.logs()}
    assert entry not in {one["id"] for one in (await master.get("/audit/logs", headers=elsewhere)).data}
    assert (await master.get("/audit/logs?resourceId=ord_1", headers=elsewhere)).data == []
    assert (await master.get(f"/audit/logs?cursor={entry}", headers=elsewhere)).status == 400


async def test_a_key_of_one_user_sees_that_user(archive: Archive, database: Any) -> None:
    user_id, other = new_id("usr"), new_id("usr")

    async def inserting(tx: Tx) -> None:
        sql = "INSERT INTO users (id, marketplace_id, external_user_id, type) VALUES ($1, $2, $1, 'BOTH')"
        await tx.execute(sql, user_id, archive.marketplace_id)

    await database.run(inserting)
    bound = archive.caller(await archive.key("support", userId=user_id))
    await write(archive, "ABOUT_NOBODY")
    await write(archive, "ABOUT_ANOTHER", user_id=other)
    about = await write(archive, "ABOUT_HIM", user_id=user_id)
    seen = (await bound.get("/audit/logs")).data
    assert seen[0]["id"] == about
    assert {one["userId"] for one in seen} == {user_id}
    assert (await bound.get(f"/audit/logs?userId={other}")).data == []
    assert [one["action"] for one in await archive.logs(f"?userId={other}")] == ["ABOUT_ANOTHER"]


async def test_pages_follow_one_another(archive: Archive) -> None:
    ids = [await write(archive, "PAGED", resource_id="ord_paged") for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        heard = await archive.support.get(f"/audit/logs?resourceId=ord_paged&limit=2{cursor}")
        seen += [one["id"] for one in heard.data]
        if not heard.json["pagination"]["hasMore"]:
            break
        cursor = f"&cursor={heard.json['pagination']['nextCursor']}"
    assert seen == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("action", "found"),
    [
        ("CREATE", {"ORDER_CREATED", "dispute.opened", "API_TOKEN_ISSUED"}),
        ("DELETE", {"api_key.revoked", "API_KEY_REVOKED"}),
        ("UPDATE", {"RESERVE", "order.closed", "ESCROW_CREATE_FAILED", "ORDER_CANCELLED"}),
        ("order.closed", {"order.closed"}),
        ("ORDER", set()),
        ("create", set()),
    ],
)
async def test_actions_and_their_classes(archive: Archive, action: str, found: set[str]) -> None:
    every = ["ORDER_CREATED", "dispute.opened", "API_TOKEN_ISSUED", "api_key.revoked", "API_KEY_REVOKED", "RESERVE"]
    for one in (*every, "order.closed", "ESCROW_CREATE_FAILED", "ORDER_CANCELLED"):
        await write(archive, one, resource_id="ord_acted")
    shown = [one["action"] for one in await archive.logs(f"?resourceId=ord_acted&action={action}")]
    assert (set(shown), len(shown)) == (found, len(found))


async def test_the_type_is_found_in_any_case(archive: Archive) -> None:
    entry = await write(archive, "TYPED", resource_type="TopUp")
    for spelling in ("TopUp", "topup", "TOPUP"):
        assert [one["id"] for one in await archive.logs(f"?resourceType={spelling}")] == [entry]
    assert await archive.logs("?resourceType=Top%25") == []


async def test_a_span_of_time_includes_its_ends(archive: Archive) -> None:
    for _ in range(3):
        await write(archive, "TIMED", resource_id="ord_timed")
    # The list is in order of ids, which says nothing about two of one millisecond.
    found_all = await archive.logs("?resourceId=ord_timed")
    oldest, middle, newest = sorted(found_all, key=lambda one: str(one["occurredAt"]))
    at = quote(middle["occurredAt"])

    async def found(query: str) -> list[str]:
        return [one["id"] for one in await archive.logs(f"?resourceId=ord_timed&{query}")]

    assert middle["id"] in await found(f"from={at}&to={at}")
    assert {newest["id"], middle["id"]} <= set(await found(f"from={at}"))
    assert {oldest["id"], middle["id"]} <= set(await found(f"to={at}"))
    day = middle["occurredAt"][:10]
    assert len(await found(f"from={day}")) == 3
    assert await found(f"to={day}") == []
    assert await found("from=2999-01-01T00:00:00%2B02:00") == []


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=101", "limit"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("cursor=aud_nowhere", "cursor"),
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("from=0001-01-01T00:00:00%2B14:00", "from"),
        ("page=2", "page"),
        ("since=2026-01-01", "since"),
    ],
)
async def test_a_wrong_query_is_refused(archive: Archive, query: str, named: str) -> None:
    heard = await archive.support.get(f"/audit/logs?{query}")
    assert (heard.status, heard.code) == (400, "VALIDATION_ERROR")
    assert [one["field"] for one in heard.details["fields"]] == [named]
