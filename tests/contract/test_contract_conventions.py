"""Contract 1.1 and 1.3 to 1.7, 1.10: what holds for every endpoint."""

import asyncio
import re
from typing import Any, Final

import pytest

from asgi_client import Heard
from support.product import MASTER_KEY, Marketplace, Person, unique
from support.wire import ORDER, USER, opened

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
NOBODY: Final = "usr_" + "0" * 32


# -- transport (1.1) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/users", "/orders", "/auth/me", "/config", "/withdrawals", "/nothing", "/audit/logs"]
)
async def test_the_root_is_the_same_as_the_base_path(shop: Marketplace, path: str) -> None:
    headers = {"authorization": f"Bearer {shop.credential}"}
    answers = []
    for base in ("/api/v1", ""):
        async with shop.http.get(f"{shop.live.url}{base}{path}", headers=headers) as answer:
            found = await answer.json()
            answers.append((answer.status, found.get("data"), found.get("error", {}).get("code")))
    assert answers[0] == answers[1]


async def test_changes_at_the_root_are_the_same_changes(shop: Marketplace) -> None:
    name, key = unique("u"), unique("key")
    headers = {"authorization": f"Bearer {shop.credential}", "idempotency-key": key}
    heard = []
    for base in ("", "/api/v1"):
        body = {"externalUserId": name}
        async with shop.http.post(f"{shop.live.url}{base}/users", json=body, headers=headers) as answer:
            heard.append((answer.status, (await answer.json())["data"]["id"]))
    assert heard == [(201, heard[0][1])] * 2, "the key knows the path below the base"


@pytest.mark.parametrize("path", ["/api/v1/users/", "/users/", "/api/v1", "/", "//users", "/api/v1/api/v1/users"])
async def test_other_spellings_of_a_path_are_not_there(shop: Marketplace, path: str) -> None:
    async with shop.http.get(shop.live.url + path, headers={"authorization": f"Bearer {shop.credential}"}) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "NOT_FOUND"


async def test_posts_without_a_body(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    for headers, raw in (({}, None), ({"content-type": "application/json"}, b""), ({}, b"{}")):
        order_id = await shop.order(*pair, "1.00")
        for move in ("reserve", "cancel"):
            heard = await shop.post(f"/orders/{order_id}/{move}", raw=raw, headers=headers)
            assert heard.status == 200, heard.body


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("POST", "/webhook", 404, "NOT_FOUND"),
        ("PATCH", "/users", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/orders/ord_1", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/users", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_what_is_not_there_is_told_in_json(
    shop: Marketplace, method: str, path: str, status: int, code: str
) -> None:
    for caller in (shop, shop.using("")):
        heard = await caller.send(method, path)
        assert (heard.status, heard.code) == (status, code)
        assert ("allow" in heard.headers) is (status == 405)


async def test_too_large_and_of_another_kind(shop: Marketplace) -> None:
    large = b'{"externalUserId": "' + b"x" * 100_000 + b'"}'
    details = await shop.refused("POST", "/users", raw=large, status=413, code="PAYLOAD_TOO_LARGE")
    assert details["limit"] == 100_000
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        heard = await shop.post("/users", raw=b"externalUserId=x", headers={"content-type": kind})
        assert (heard.status, heard.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    usual = {"content-type": "application/json; charset=utf-8"}
    raw = f'{{"externalUserId": "{unique("u")}"}}'.encode()
    assert (await shop.post("/users", raw=raw, headers=usual)).status == 201


async def test_malformed_json_is_named_with_the_request(shop: Marketplace) -> None:
    for raw in (b"{", b"[]", b'"x"', b"{'a': 1}", b"\xff"):
        details = await shop.refused("POST", "/users", raw=raw, status=400, code="VALIDATION_ERROR")
        assert details["validationErrors"]


# -- correlation (1.3) ------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["abc", "x" * 128, "a b c", "{json: 1}", "~!@#"])
async def test_a_request_id_is_kept(shop: Marketplace, given: str) -> None:
    heard = await shop.post("/users", {"externalUserId": unique("u")}, headers={"x-request-id": given})
    assert heard.headers["x-request-id"] == heard.json["meta"]["requestId"] == given
    sql = "SELECT metadata->>'correlationId' FROM events WHERE aggregate_id = $1 AND type = 'user.created'"
    assert await shop.live.value(sql, heard.data["id"]) == given
    refused = await shop.get("/users/usr_nobody", headers={"x-request-id": given})
    assert refused.headers["x-request-id"] == refused.details["requestId"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "caf\u00e9", "a\tb"])
async def test_another_request_id_is_replaced(shop: Marketplace, given: str | None) -> None:
    heard = await shop.get("/users", headers={} if given is None else {"x-request-id": given})
    assert UUID.fullmatch(heard.headers["x-request-id"])


async def test_a_replay_has_a_new_id_and_the_old_body(shop: Marketplace) -> None:
    body, key = {"externalUserId": unique("u")}, unique("key")
    first = await shop.post("/users", body, key=key, headers={"x-request-id": "first"})
    again = await shop.post("/users", body, key=key, headers={"x-request-id": "again"})
    assert (again.headers["x-request-id"], again.json["meta"]["requestId"]) == ("again", "first")
    assert again.body == first.body


# -- amounts and currencies (1.5) -------------------------------------------------------------------------

BAD_AMOUNTS: Final = (
    *("0.00", "00.00", "-1.00", "+1.00", "1e2", "1.00e1", "1.5", "1.500", "1", ".50", "1.", "", " 1.00", "1.00\n"),
    *("1,00", "\u0661.\u0660\u0660", "\uff11.\uff10\uff10", "12345678901.00", "1234567890123456.00", "NaN"),
)


@pytest.fixture(scope="module")
async def fields(shop: Marketplace, pair: tuple[Person, Person]) -> list[tuple[str, dict[str, Any], str]]:
    """Where amounts are sent: path, the body around it, the code of a bad one."""
    buyer, seller = pair
    target, _ = await shop.world.outside_wallet()
    parties = {"buyer_id": buyer.id, "seller_id": seller.id, "title": "t"}
    payout = {"userId": buyer.id, "destinationType": "crypto", "destinationRef": target}
    return [
        (f"/users/{buyer.id}/balance/credit", {}, "INVALID_AMOUNT_FORMAT"),
        (f"/users/{buyer.id}/balance/reserve", {"orderId": "x"}, "INVALID_AMOUNT_FORMAT"),
        ("/withdrawals", payout, "INVALID_AMOUNT_FORMAT"),
        ("/topups", {"userId": buyer.id}, "INVALID_AMOUNT_FORMAT"),
        ("/orders", parties, "INVALID_AMOUNT"),
    ]


@pytest.mark.parametrize("amount", BAD_AMOUNTS)
async def test_what_is_no_amount(
    shop: Marketplace, fields: list[tuple[str, dict[str, Any], str]], amount: str
) -> None:
    before = await shop.counts()
    for path, body, code in fields:
        details = await shop.refused("POST", path, {**body, "amount": amount}, status=400, code=code)
        assert details["provided"] == amount
        assert details["expectedFormat"]
    assert await shop.counts() == before


@pytest.mark.parametrize("value", [1, 1.5, True, ["1.00"], {"value": "1.00"}, None])
async def test_an_amount_is_a_text(
    shop: Marketplace, fields: list[tuple[str, dict[str, Any], str]], value: Any
) -> None:
    for path, body, _ in fields:
        await shop.refused("POST", path, {**body, "amount": value}, status=400, code="VALIDATION_ERROR")


@pytest.mark.parametrize("currency", ["EUR", "usd", "", "USDT", "USD "])
async def test_other_currencies(
    shop: Marketplace, fields: list[tuple[str, dict[str, Any], str]], currency: str
) -> None:
    before = await shop.counts()
    for path, body, _ in fields:
        sent = {**body, "amount": "1.00", "currency": currency}
        await shop.refused("POST", path, sent, status=400, code="INVALID_CURRENCY")
    assert await shop.counts() == before


async def test_both_currencies_are_one_balance_and_are_echoed(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    path = f"/users/{pair[1].id}/balance"
    before = await shop.units(pair[1].id)
    for currency in ("USD", "USDC"):
        credited = await shop.done("POST", f"{path}/credit", {"amount": "1.00", "currency": currency})
        assert credited["currency"] == "USD"
        order = {
            "buyer_id": pair[0].id,
            "seller_id": pair[1].id,
            "amount": "1.00",
            "title": "t",
            "currency": currency,
        }
        assert (await shop.done("POST", "/orders", order, status=201))["currency"] == currency
    after = await shop.units(pair[1].id)
    assert after["available"] - before.get("available", 0) == 20_000_000


# -- lists (1.7) ------------------------------------------------------------------------------------------

LISTS: Final = {
    "/users": ("PAGE", USER),
    "/orders": ("LIST", ORDER),
    "/auth/api-keys": ("PAGE", dict),
    "/withdrawals": ("LIST", dict),
    "/topups": ("LIST", dict),
}


@pytest.mark.parametrize("path", LISTS)
async def test_limits_and_cursors_of_a_list(shop: Marketplace, path: str) -> None:
    for query in ("limit=0", "limit=-1", "limit=abc", "limit=1.5", "cursor=unknown", "colour=red"):
        await shop.refused("GET", f"{path}?{query}", status=400, code="VALIDATION_ERROR")
    for query in ("", "?limit=", "?limit=1", "?limit=100", "?limit=101", "?limit=999999999"):
        kind, form = LISTS[path]
        opened(await shop.get(f"{path}{query}"), kind, form)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        *[(f"/orders?status={name}", 200) for name in ("COMPLETED", "CANCELLED", "ESCROW_CREATED", "IN_PROGRESS")],
        *[(f"/orders?status={name}", 400) for name in ("OPEN", "in_progress", "TOPUP_CREATED")],
        ("/topups?status=TOPUP_CANCELLED", 200),
        ("/topups?status=DONE", 400),
        ("/withdrawals?status=WITHDRAWAL_COMPLETED", 200),
        ("/withdrawals?status=DONE", 400),
        ("/users?status=ACTIVE&type=BOTH", 200),
        ("/users?type=both", 400),
    ],
)
async def test_states_to_filter_by(shop: Marketplace, query: str, status: int) -> None:
    heard = await shop.get(query)
    assert heard.status == status, heard.body
    if any(name in query for name in ("COMPLETED", "CANCELLED", "ESCROW_CREATED")) and "WITHDRAWAL" not in query:
        assert heard.data == [], "spellings that only the SDK knows"


async def test_a_cursor_of_another_list_or_marketplace(shop: Marketplace) -> None:
    other = await Marketplace.found(shop.live, shop.world, shop.http)
    theirs = await other.done("POST", "/users", {"externalUserId": unique("u")}, status=201)
    for path in ("/users", "/orders"):
        await shop.refused("GET", f"{path}?cursor={theirs['id']}", status=400, code="VALIDATION_ERROR")


async def test_pages_of_many_rows_of_one_moment(shop: Marketplace) -> None:
    here = await Marketplace.found(shop.live, shop.world, shop.http)
    buyer, seller = [await here.done("POST", "/users", {"externalUserId": unique("p")}, status=201) for _ in range(2)]
    body = {"buyer_id": buyer["id"], "seller_id": seller["id"], "amount": "1.00", "title": "t"}
    made = await asyncio.gather(*(here.done("POST", "/orders", body, status=201) for _ in range(105)))
    moment = "UPDATE orders SET created_at = '2026-03-01T10:00:00Z' WHERE marketplace_id = $1"
    await here.live.product.database.run(lambda tx: tx.execute(moment, here.id))
    full: Heard = await here.get("/orders?limit=1000")
    assert (len(full.data), full.json["hasMore"]) == (100, True)
    assert len((await here.get("/orders")).data) == 20
    for size in (7, 35, 100):
        seen: list[str] = []
        cursor = ""
        while True:
            page = (await here.get(f"/orders?limit={size}{cursor}")).json
            seen += [order["id"] for order in page["data"]]
            if not page["hasMore"]:
                break
            assert page["nextCursor"] == seen[-1]
            cursor = f"&cursor={page['nextCursor']}"
        assert len(seen) == len(set(seen)) == 105
        assert set(seen) == {order["id"] for order in made}
        assert seen == sorted(seen, reverse=True), "newest first, and by id within a moment"


# -- validation (1.10) ------------------------------------------------------------------------------------


async def test_all_faults_are_told_in_both_arrays(shop: Marketplace) -> None:
    body = {"externalUserId": 7, "type": "NONE", "colour": "red"}
    details = await shop.refused("POST", "/users", body, status=400, code="VALIDATION_ERROR")
    assert [fault["field"] for fault in details["fields"]] == ["externalUserId", "type", "colour"]
    assert len(details["validationErrors"]) == 3
    for fault, sentence in zip(details["fields"], details["validationErrors"], strict=True):
        assert fault["field"] in sentence
        assert fault["message"] in sentence


async def test_harmless_extras_of_the_documentation_are_taken(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    user = {"externalUserId": unique("u"), "metadata": {"plan": "gold"}}
    await shop.done("POST", "/users", user, status=201)
    terms = {"buyerId": pair[0].id, "sellerId": pair[1].id, "amount": "1.00", "title": "t", "service_id": "svc"}
    order = await shop.done("POST", "/orders", {**terms, "metadata": {"a": 1}}, status=201)
    await shop.done("POST", f"/orders/{order['id']}/reserve", {"amount": "1.00"})
    await shop.done("POST", f"/orders/{order['id']}/cancel", {"canceledBy": "buyer", "reason": "r"})
    for path, body in (
        ("/users", {"externalUserId": "x", "plan": "gold"}),
        ("/orders", {**terms, "price": "1.00"}),
        (f"/orders/{order['id']}/cancel", {"why": "r"}),
        (f"/users/{pair[0].id}/balance/credit", {"amount": "1.00", "note": "x"}),
    ):
        details = await shop.refused("POST", path, body, status=400, code="VALIDATION_ERROR")
        assert "is not a known property" in details["validationErrors"][0]


async def test_errors_do_not_show_their_insides(shop: Marketplace) -> None:
    for path in ("/users/%27%20OR%201=1", "/orders/..%2f..", f"/users/{NOBODY}/balance"):
        heard = await shop.using(MASTER_KEY).get(path)
        assert heard.status == 404
        told = heard.body.decode().lower()
        assert not any(word in told for word in ("traceback", "asyncpg", "select ", "offerhub/"))
