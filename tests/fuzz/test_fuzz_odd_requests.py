"""What no schema generates: odd bytes in headers, paths and bodies get an answer in JSON, and never a 500."""

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import pytest

from offerhub.runtime.routes import Redirect, Stream
from support.outside import World
from support.product import MASTER_KEY, Marketplace, Running, unique
from support.routes import NOWHERE, all_routes, body_for, path_with

ROUTES: Final = [route for route in all_routes() if route.answer not in (Redirect, Stream)]
"""A redirect leads to a page that is not here."""
HEADERS: Final[Mapping[str, Mapping[str, str]]] = {
    "a credential outside ASCII": {"authorization": "Bearer ключ"},
    "a key outside ASCII": {"authorization": "", "x-api-key": "ohk_live_key_ключ"},
    "a token that is none": {"authorization": "Bearer ohk_tok_é.é.é"},
    "an idempotency key outside ASCII": {"idempotency-key": "заказ"},
    "an id outside ASCII": {"x-request-id": "запрос", "user-agent": "обозреватель"},
    "a marketplace outside ASCII": {"x-marketplace-id": "mkt_рынок"},
    "a long marketplace": {"x-marketplace-id": "mkt_" + "0" * 4000},
    "a media type that is none": {"content-type": "é/é; q="},
}
BODIES: Final[Mapping[str, bytes]] = {
    "a lone surrogate": b'{"%s": "\\ud800"}',
    "a NUL": b'{"%s": "a\\u0000b"}',
    "a NUL in a name": b'{"%s": {"\\u0000": 1}}',
    "deep": b'{"%s": ' + b"[" * 33 + b"]" * 33 + b"}",
    "one name twice": b'{"%s": "1.00", "%s": "2.00"}',
    "a huge integer": b'{"%s": ' + b"9" * 4000 + b"}",
    "a huge number": b'{"%s": 1e999}',
    "a number with a point": b'{"%s": 1.0}',
    "a number beyond a double": b'{"%s": 1e308}',
    "a line's end": b'{"%s": "25.00\\n"}',
    "not UTF-8": b'{"%s": "\xff"}',
    "white space only": b'{"%s": "\\u0085\\ufeff\\u001c "}',
}
QUERIES: Final = (
    "limit=" + "9" * 4000,
    "limit=1.0",
    "limit=%ff",
    "cursor=%00",
    "cursor=%ED%A0%80",
    "&&=&",
    "limit=null",
)


@pytest.fixture
async def master(live: Running, world: World, http: aiohttp.ClientSession) -> Marketplace:
    """A client that may do everything."""
    shop = await Marketplace.found(live, world, http)
    return Marketplace(live, world, http, shop.id, MASTER_KEY)


async def answered(client: Marketplace, method: str, path: str, body: Any = None, **more: Any) -> int:
    """The status of an answer, which is JSON below 500."""
    heard = await client.send(method, path, body, **more)
    assert heard.status < 500, (method, path[:100], more, heard.body[:500])
    if heard.status >= 400:
        assert heard.json["error"]["code"], (method, path[:100], more)
        assert heard.details["requestId"] == heard.headers["x-request-id"]
    return heard.status


async def test_odd_headers(master: Marketplace) -> None:
    for route in ROUTES:
        for headers in HEADERS.values():
            await answered(master, route.method, path_with(route, NOWHERE), body_for(route), headers=headers)
    await master.done("POST", "/admin/maintenance/disable")


async def test_odd_paths_and_queries(master: Marketplace) -> None:
    for route in ROUTES:
        for odd in ("%ff", "%ED%A0%80", "%00", "%0a", "%F4%90%80%80", "é", "." * 300):
            await answered(master, route.method, path_with(route, dict.fromkeys(NOWHERE, odd)), body_for(route))
        for query in QUERIES:
            await answered(master, route.method, f"{path_with(route, NOWHERE)}?{query}", body_for(route))
    await master.done("POST", "/admin/maintenance/disable")


async def test_odd_bodies(master: Marketplace) -> None:
    """Each property of each body is sent each of them, beside what is otherwise a good body about a real user."""
    user = await master.done("POST", "/users", {"externalUserId": unique("odd")}, status=201)
    ids = {**NOWHERE, "user_id": user["id"]}
    statuses: set[int] = set()
    for route in ROUTES:
        if route.body is None or route.name == "maintenance.enable":
            continue
        for name in (field.encode() for field in route.body.__struct_encode_fields__):
            for body in BODIES.values():
                raw = body.replace(b"%s", name)
                statuses.add(await answered(master, route.method, path_with(route, ids), raw=raw))
    assert 400 in statuses


async def test_the_books_hold_after_amounts_as_large_as_they_can_be(master: Marketplace) -> None:
    """A hundred of the largest credits are more than a bigint of units holds: the one too many is refused."""
    user = await master.done("POST", "/users", {"externalUserId": unique("rich")}, status=201)
    path, codes = f"/users/{user['id']}/balance/credit", set()
    for _ in range(100):
        heard = await master.post(path, {"amount": "9999999999.99"})
        codes.add((heard.status, heard.json.get("error", {}).get("code")))
    assert codes == {(200, None), (400, "INVALID_AMOUNT")}
    await master.live.assert_books_hold()
