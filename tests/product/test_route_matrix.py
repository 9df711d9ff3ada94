"""What every route must refuse, generated from the table of routes: strangers, unknown ids, other marketplaces."""

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import pytest

from offerhub.errors import ProviderUnavailable
from offerhub.events.journal import Event, record
from offerhub.findings.model import Found
from offerhub.findings.service import raise_finding
from offerhub.runtime.actor import system
from offerhub.runtime.database import Tx
from offerhub.runtime.queue import Queues
from offerhub.runtime.routes import Route
from offerhub.topups import settlement
from offerhub.topups import store as topups
from support.outside import World, eventually
from support.product import MASTER_KEY, Marketplace, Person, Running
from support.routes import NOWHERE, all_routes, body_for, path_with

ROUTES: Final = all_routes()
PROTECTED: Final = [route for route in ROUTES if route.scope != "public"]
WITH_ID: Final = [route for route in ROUTES if "{" in route.path]
WITH_JSON: Final = [route for route in ROUTES if route.body is not None]

CODES: Final[Mapping[str, str]] = {
    "user_id": "USER_NOT_FOUND",
    "order_id": "ORDER_NOT_FOUND",
    "dispute_id": "DISPUTE_NOT_FOUND",
    "withdrawal_id": "WITHDRAWAL_NOT_FOUND",
    "topup_id": "TOPUP_NOT_FOUND",
    "key_id": "API_KEY_NOT_FOUND",
    "endpoint_id": "WEBHOOK_ENDPOINT_NOT_FOUND",
    "key": "NOT_FOUND",
    "letter_id": "NOT_FOUND",
    "job": "NOT_FOUND",
    "finding_id": "NOT_FOUND",
}
INSTALLATION: Final = ("letter_id", "job", "finding_id")
"""What belongs to no marketplace: to all but the operators' it does not exist, whatever a key's scopes."""


def named(route: Route) -> str:
    """How pytest shows a route."""
    return f"{route.method} {route.path}"


def code_of(route: Route) -> str:
    """The code for a resource that is not there."""
    if route.domain == "wallet":
        return "WALLET_NOT_FOUND"
    return next(code for name, code in CODES.items() if f"{{{name}}}" in route.path)


@pytest.fixture(scope="module")
async def theirs(live: Running, world: World, http: aiohttp.ClientSession) -> tuple[Marketplace, dict[str, str]]:
    """Another marketplace, and the ids of things in it that every operation would find in the right state."""
    other = await Marketplace.found(live, world, http)
    buyer, seller = await other.people("100", None)
    milestones = [{"ref": "m1", "title": "M"}]
    order_id, dispute_id = await other.disputed(buyer, seller, "10.00", milestones=milestones)
    target, _ = await world.outside_wallet()
    body = {"userId": buyer.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": target}
    withdrawal = await other.done("POST", "/withdrawals", body, status=201)
    await other.done(
        "POST", f"/users/{buyer.id}/balance/reserve", {"amount": "5.00", "orderId": "job"}, key="their-key"
    )
    key = await other.done("POST", "/auth/api-keys", {"name": "theirs", "scopes": ["read"]}, status=201)
    ids = {"user_id": buyer.id, "order_id": order_id, "dispute_id": dispute_id, "ref": "m1"}
    ids["topup_id"] = await old_topup(live, other, buyer)
    ids |= await endpoint_of(other)
    ids |= {"letter_id": await dead_letter(live), "job": "sync-escrows"}
    ids["finding_id"] = await finding(live, other, order_id)
    return other, {**ids, "withdrawal_id": withdrawal["id"], "key_id": key["id"], "key": "their-key"}


@pytest.fixture(scope="module")
async def everyone(shop: Marketplace) -> Person:
    """A user of our own, for routes that name a second one."""
    made = await shop.done("POST", "/users", {"externalUserId": "route-matrix-own"}, status=201)
    return Person(made["id"], made["wallet"]["publicKey"])


async def endpoint_of(other: Marketplace) -> dict[str, str]:
    """A webhook endpoint with a delivery; of the kind that fetches, for which everything can be asked."""
    endpoint = await other.done("POST", "/webhook-endpoints", {"kind": "PULL"}, status=201)
    delivery = await other.done("POST", f"/webhook-endpoints/{endpoint['id']}/test", status=202)
    return {"endpoint_id": endpoint["id"], "delivery_id": delivery["id"]}


async def old_topup(live: Running, other: Marketplace, person: Person) -> str:
    """A top-up from a time when this product was on the rail of Airtm."""
    actor = system(other.id, "test")

    async def insert(tx: Tx) -> str:
        made = await topups.insert(tx, other.id, person.id, "ana", 10_000_000, "USD", None)
        await record(tx, actor, events=[Event("topup.created", "TopUp", made.id, {}, person.id)])
        await settlement.refuse(tx, actor, made, ProviderUnavailable())
        return made.id

    return await live.product.database.run(insert)


async def finding(live: Running, other: Marketplace, order_id: str) -> str:
    """Something that differs at another marketplace."""
    escrow_id = await live.value("SELECT id FROM escrows WHERE order_id = $1", order_id)
    found = Found(other.id, "MONEY_MISSING", "Escrow", escrow_id, amount=-1)
    await live.product.database.run(lambda tx: raise_finding(tx, found))
    made: str = await live.value("SELECT id FROM findings WHERE subject_id = $1", escrow_id)
    return made


async def dead_letter(live: Running) -> str:
    """A job that nobody can run, after its only attempt."""
    queues = Queues(live.product.settings.storage.redis_url.reveal())
    await queues.add("sagas", "drive", {}, job_id="route-matrix", attempts=1)
    await eventually(lambda: queues.state("sagas", "route-matrix"), lambda state: state == "failed")
    await queues.close()
    return "sagas.route-matrix"


BAD_CREDENTIALS: Final[Mapping[str, Mapping[str, str]]] = {
    "none": {},
    "other scheme": {"authorization": "Basic b2s6b2s="},
    "empty": {"authorization": "Bearer "},
    "not ours": {"authorization": "Bearer ohk_test_intentionally_invalid"},
    "unknown": {"authorization": "Bearer ohk_live_key_" + "0" * 32 + "_" + "0" * 48},
    "forged token": {"authorization": "Bearer ohk_tok_eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYXN0ZXIifQ."},
    "x-api-key": {"x-api-key": "ohk_live_key_" + "0" * 32 + "_" + "0" * 48},
}


@pytest.mark.parametrize("route", PROTECTED, ids=named)
async def test_strangers_are_turned_away(
    shop: Marketplace, theirs: tuple[Marketplace, dict[str, str]], route: Route
) -> None:
    other, ids = theirs
    nobody, before = other.using(""), await other.counts()
    for name, headers in BAD_CREDENTIALS.items():
        for raw in (None, b"{"):
            heard = await nobody.send(
                route.method, path_with(route, ids), body_for(route), raw=raw, headers=headers, key="stranger"
            )
            assert heard.status == 401, (name, heard.body)
            malformed = name in ("none", "other scheme", "empty")
            assert heard.code == ("UNAUTHORIZED" if malformed else "INVALID_API_KEY"), name
            assert heard.headers["www-authenticate"] == "Bearer"
    assert await other.counts() == before


@pytest.mark.parametrize("route", WITH_ID, ids=named)
async def test_unknown_ids_are_404(shop: Marketplace, everyone: Person, route: Route) -> None:
    before = await shop.counts()
    body = body_for(route)
    if body and "sellerId" in body:
        body["sellerId"] = everyone.id
    parameter = next(name for name in NOWHERE if f"{{{name}}}" in route.path)
    for value in (NOWHERE[parameter], "x", "%27%3B--", "%C3%A9", "0" * 300):
        path = path_with(route, {**NOWHERE, parameter: value})
        await shop.refused(route.method, path, body, status=404, code=code_of(route))
    assert await shop.counts() == before


@pytest.mark.parametrize("route", WITH_ID, ids=named)
async def test_the_ids_of_another_marketplace_are_unknown(
    shop: Marketplace, everyone: Person, theirs: tuple[Marketplace, dict[str, str]], route: Route
) -> None:
    other, ids = theirs
    body = body_for(route)
    if body and "sellerId" in body:
        body["sellerId"] = everyone.id
    before, ours = await other.counts(), await shop.counts()
    found = await shop.send(route.method, path_with(route, ids), body)
    unknown = await shop.send(route.method, path_with(route, NOWHERE), body)
    assert (found.status, found.code) == (404, code_of(route))
    # Not even the words differ, but for the ids.
    for real, made_up in ((ids[name], NOWHERE[name]) for name in NOWHERE):
        assert found.json["error"]["message"].replace(real, made_up) == unknown.json["error"]["message"]
    assert set(found.details) == set(unknown.details)
    assert await other.counts() == before
    assert await shop.counts() == ours


async def test_the_matrix_would_succeed_for_the_owner(
    theirs: tuple[Marketplace, dict[str, str]], everyone: Person
) -> None:
    """The 404s above are about the marketplace: to its owner none of these reads is one.

    A browser that comes back from Airtm finds nobody on this rail.
    """
    other, ids = theirs
    for route in WITH_ID:
        if route.method == "GET" and route.name not in ("balances.verify", "topups.callback"):
            owner = other.using(MASTER_KEY) if any(f"{{{name}}}" in route.path for name in INSTALLATION) else other
            heard = await owner.send("GET", path_with(route, ids))
            assert heard.status == 200, (route.path, heard.body)


@pytest.mark.parametrize("route", WITH_JSON, ids=named)
async def test_malformed_json_is_refused(
    live: Running, theirs: tuple[Marketplace, dict[str, str]], route: Route
) -> None:
    other, ids = theirs
    if route.scope == "master":
        other = other.using("test-master-key-with-enough-characters")
    path, before = path_with(route, ids), await other.counts()
    broken = (
        b"{",
        b"[1",
        b'{"amount": NaN}',
        b'{"amount": 1e999}{}',
        b"\xff\xfe",
        b'{"a":"\\u0000"}',
        b"nul",
        b"'x'",
    )
    for raw in (*broken, b'{"a":' * 40 + b"1" + b"}" * 40):
        details = await other.refused(route.method, path, raw=raw, status=400, code="VALIDATION_ERROR")
        assert details["validationErrors"]
    values: list[Any] = [[], "text", 7, None, True]
    for value in values:
        await other.refused(
            route.method,
            path,
            raw=str(value).lower().encode() if value in (None, True) else None,
            body=value,
            status=400,
            code="VALIDATION_ERROR",
        )
    await other.refused(
        route.method, path, {**(body_for(route) or {}), "surprise": 1}, status=400, code="VALIDATION_ERROR"
    )
    await other.refused(
        route.method, path, raw=b'{"a":"' + b"x" * 100_001 + b'"}', status=413, code="PAYLOAD_TOO_LARGE"
    )
    heard = await other.send(route.method, path, raw=b"amount=1.00", headers={"content-type": "text/plain"})
    assert (heard.status, heard.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert await other.counts() == before


@pytest.mark.parametrize(
    "route", [one for one in PROTECTED if one.scope in ("write", "support", "master")], ids=named
)
async def test_a_reading_key_changes_nothing(
    theirs: tuple[Marketplace, dict[str, str]], reader: Marketplace, route: Route
) -> None:
    other, ids = theirs
    before = await other.counts()
    details: dict[str, Any] = await reader.refused(
        route.method, path_with(route, ids), body_for(route), status=403, code="INSUFFICIENT_SCOPE", key="reader"
    )
    assert (details["required_scope"], details["current_scopes"]) == (route.scope, ["read"])
    assert await other.counts() == before


@pytest.fixture(scope="module")
async def reader(theirs: tuple[Marketplace, dict[str, str]]) -> Marketplace:
    """A key that may only read."""
    return await theirs[0].with_key("read")


@pytest.mark.parametrize("route", [one for one in PROTECTED if one.scope == "read"], ids=named)
async def test_a_key_without_scopes_reads_nothing(theirs: tuple[Marketplace, dict[str, str]], route: Route) -> None:
    other, ids = theirs
    idle = await other.with_key()
    await idle.refused(route.method, path_with(route, ids), status=403, code="INSUFFICIENT_SCOPE")
