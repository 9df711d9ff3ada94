"""Webhooks out as a marketplace uses them: over HTTP, on real servers, to a real receiver."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from offerhub.settings import SettingsError, load
from offerhub.webhook_endpoints.model import ENDPOINTS_MAX
from support.outside import eventually
from support.product import MASTER_KEY, Marketplace, Running, running, unique
from support.receiver import Receiver, Say, receiving

ENDPOINTS = "/webhook-endpoints"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def made(shop: Marketplace, receiver: Receiver, *types: str) -> dict[str, Any]:
    body = {"url": receiver.url, **({"eventTypes": list(types)} if types else {})}
    found: dict[str, Any] = await shop.done("POST", ENDPOINTS, body, status=201)
    return found


async def ended(shop: Marketplace, endpoint_id: str, delivery_id: str, status: str = "DELIVERED") -> Any:
    path = f"{ENDPOINTS}/{endpoint_id}/deliveries/{delivery_id}"

    async def look() -> Any:
        return await shop.done("GET", path)

    return await eventually(look, lambda found: found["status"] == status)


async def test_an_order_of_events_arrives_as_the_product_tells_it(shop: Marketplace, receiver: Receiver) -> None:
    endpoint = await made(shop, receiver, "user.*", "balance.credited")
    assert endpoint["status"] == "ENABLED"
    assert endpoint["secret"].startswith("whsec_")
    user = await shop.done("POST", "/users", {"externalUserId": unique("hooked")}, status=201)
    for amount in ("1.00", "2.00", "3.00"):
        await shop.done("POST", f"/users/{user['id']}/balance/credit", {"amount": amount})
    await receiver.until(1, "user.created")
    got = await receiver.until(3, "balance.credited")
    assert all(one.is_signed_by(endpoint["secret"]) for one in got)
    amounts = [one.event["payload"]["amount"] for one in receiver.of("balance.credited")]
    assert amounts == ["1.00", "2.00", "3.00"]
    (created,) = receiver.of("user.created")
    assert created.event["aggregateId"] == user["id"]
    assert created.event["metadata"]["marketplaceId"] == shop.id
    heard = await shop.get(f"{ENDPOINTS}/{endpoint['id']}/deliveries?eventType=user.created")
    (delivery,) = heard.json["data"]
    detail = await ended(shop, endpoint["id"], delivery["id"])
    assert detail["requestBody"].encode() == created.body
    (attempt,) = detail["attemptLog"]
    assert (attempt["number"], attempt["outcome"], attempt["responseStatus"]) == (1, "DELIVERED", 200)
    assert attempt["requestHeaders"]["webhook-id"] == created.event["eventId"] == delivery["eventId"]


async def test_a_test_event_goes_to_its_endpoint_alone(shop: Marketplace, receiver: Receiver) -> None:
    first, second = await made(shop, receiver, "order.*"), await made(shop, receiver)
    receiver.default = Say(201, {"x-kind": "test"}, b'{"ok":true}')
    delivery = await shop.done("POST", f"{ENDPOINTS}/{first['id']}/test", status=202)
    assert (delivery["eventType"], delivery["status"]) == ("webhook.test", "PENDING")
    detail = await ended(shop, first["id"], delivery["id"])
    (attempt,) = detail["attemptLog"]
    assert (attempt["responseStatus"], attempt["responseBody"]) == (201, '{"ok":true}')
    assert attempt["responseHeaders"]["x-kind"] == "test"
    (got,) = receiver.got
    assert got.is_signed_by(first["secret"])
    assert not got.is_signed_by(second["secret"])


async def test_one_delivery_and_a_time_can_be_sent_again(shop: Marketplace, receiver: Receiver) -> None:
    endpoint = await made(shop, receiver, "user.created")
    began = endpoint["createdAt"]
    users = [await shop.done("POST", "/users", {"externalUserId": unique("again")}, status=201) for _ in range(3)]
    await receiver.until(3)
    await eventually(
        lambda: shop.get(f"{ENDPOINTS}/{endpoint['id']}/deliveries?status=DELIVERED"),
        lambda heard: len(heard.json["data"]) == 3,
    )
    sent = (await shop.get(f"{ENDPOINTS}/{endpoint['id']}/deliveries")).json["data"]
    one = next(found for found in sent if found["aggregateId"] == users[0]["id"])
    path = f"{ENDPOINTS}/{endpoint['id']}/deliveries/{one['id']}/redeliver"
    assert (await shop.done("POST", path, status=202))["status"] == "PENDING"
    got = await receiver.until(4)
    assert got[3].id == one["eventId"]
    assert got[3].body == next(before.body for before in got[:3] if before.id == one["eventId"])
    detail = await ended(shop, endpoint["id"], one["id"])
    assert [attempt["number"] for attempt in detail["attemptLog"]] == [2, 1]

    path = f"{ENDPOINTS}/{endpoint['id']}/redeliver"
    nothing = await shop.done("POST", path, {"since": began}, status=202)
    assert nothing == {"queued": 0, "nextCursor": None}
    everything = await shop.done("POST", path, {"since": began, "only": "all"}, status=202)
    assert everything["queued"] >= 3
    await receiver.until(4 + everything["queued"])
    wrong = {"since": began, "until": began}
    await shop.refused("POST", path, wrong, status=400, code="VALIDATION_ERROR")
    wrong = {"since": began, "cursor": "never"}
    await shop.refused("POST", path, wrong, status=400, code="VALIDATION_ERROR")


async def test_changing_disabling_and_deleting(shop: Marketplace, receiver: Receiver) -> None:
    endpoint = await made(shop, receiver)
    path = f"{ENDPOINTS}/{endpoint['id']}"
    changed = await shop.done("POST", path, {"description": "main", "eventTypes": ["order.*"]})
    assert (changed["description"], changed["eventTypes"]) == ("main", ["order.*"])
    assert "secret" not in changed
    disabled = await shop.done("POST", path, {"enabled": False})
    assert (disabled["status"], disabled["disabledReason"]) == ("DISABLED", "manual")
    await shop.refused("POST", f"{path}/test", status=409, code="INVALID_STATE")
    await shop.refused(
        "POST", f"{path}/redeliver", {"since": "2036-01-01T00:00:00Z"}, status=409, code="INVALID_STATE"
    )
    told = await shop.live.rows("SELECT payload FROM events WHERE aggregate_id = $1", endpoint["id"])
    assert [row["payload"]["reason"] for row in told] == ["manual"]
    enabled = await shop.done("POST", path, {"enabled": True})
    assert (enabled["status"], enabled["disabledReason"]) == ("ENABLED", None)
    listed = (await shop.get(ENDPOINTS)).json["data"]
    assert endpoint["id"] in [one["id"] for one in listed]
    assert all("secret" not in one for one in listed)
    assert (await shop.done("DELETE", path))["status"] == "DELETED"
    for method in ("GET", "DELETE"):
        await shop.refused(method, path, status=404, code="WEBHOOK_ENDPOINT_NOT_FOUND")
    assert await shop.live.value("SELECT count(*) FROM webhook_secrets WHERE endpoint_id = $1", endpoint["id"]) == 0


async def test_a_secret_is_shown_once_and_kept_nowhere(shop: Marketplace, receiver: Receiver) -> None:
    """The stored answer of an idempotent request is sealed as well; a repetition gets the same secret."""
    body = {"url": receiver.url}
    first = await shop.done("POST", ENDPOINTS, body, status=201, key="hook-key")
    assert await shop.done("POST", ENDPOINTS, body, status=201, key="hook-key") == first
    path = f"{ENDPOINTS}/{first['id']}/rotate-secret"
    rotated = await shop.done("POST", path, {"overlapSeconds": 60})
    assert rotated["secret"] != first["secret"]
    await shop.refused("POST", path, {"overlapSeconds": -1}, status=400, code="VALIDATION_ERROR")
    await shop.done("POST", f"{ENDPOINTS}/{first['id']}/test", status=202)
    got = (await receiver.until(1))[0]
    assert got.is_signed_by(first["secret"])
    assert got.is_signed_by(rotated["secret"])
    for table in ("audit_entries", "events", "idempotent_requests", "webhook_secrets", "webhook_attempts", "outbox"):
        stored = str(await shop.live.rows(f"SELECT t::text FROM {table} t"))
        assert first["secret"] not in stored
        assert rotated["secret"] not in stored


async def test_what_a_marketplace_may_not(shop: Marketplace, receiver: Receiver) -> None:
    other = await Marketplace.found(shop.live, shop.world, shop.http)
    user = await other.done("POST", "/users", {"externalUserId": unique("bound")}, status=201)
    bound = await other.with_key("*", userId=user["id"])
    await bound.refused("GET", ENDPOINTS, status=403, code="INSUFFICIENT_SCOPE")
    await bound.refused("POST", ENDPOINTS, {"url": receiver.url}, status=403, code="INSUFFICIENT_SCOPE")
    for wrong in ({}, {"url": receiver.url, "kind": "PULL"}, {"url": receiver.url, "eventTypes": ["Order.*"]}):
        await other.refused("POST", ENDPOINTS, wrong, status=400, code="VALIDATION_ERROR")
    for url in ("ftp://example.com/", "https://user:pass@example.com/", "example.com/hook"):
        await other.refused("POST", ENDPOINTS, {"url": url}, status=400, code="WEBHOOK_URL_FORBIDDEN")
    for _ in range(ENDPOINTS_MAX):
        endpoint = await other.done("POST", ENDPOINTS, {"url": receiver.url}, status=201)
    await other.refused("POST", ENDPOINTS, {"url": receiver.url}, status=409, code="WEBHOOK_ENDPOINT_LIMIT")
    await other.refused(
        "POST", f"{ENDPOINTS}/{endpoint['id']}/fetch", status=400, code="VALIDATION_ERROR"
    )  # it does not fetch
    # Neither side hears of the other's events.
    await shop.done("POST", "/users", {"externalUserId": unique("ours")}, status=201)
    await other.done("POST", f"{ENDPOINTS}/{endpoint['id']}/test", status=202)
    await receiver.until(1)
    assert all(got.event["metadata"]["marketplaceId"] == other.id for got in receiver.got)


async def test_one_that_fetches_gets_everything_a_called_one_would(shop: Marketplace) -> None:
    endpoint = await shop.done("POST", ENDPOINTS, {"kind": "PULL", "eventTypes": ["balance.*"]}, status=201)
    path = f"{ENDPOINTS}/{endpoint['id']}/fetch"
    assert await shop.done("POST", path) == {"deliveries": []}
    user = await shop.done("POST", "/users", {"externalUserId": unique("fetched")}, status=201)
    for amount in ("1.00", "2.00"):
        await shop.done("POST", f"/users/{user['id']}/balance/credit", {"amount": amount})
    first = (await shop.done("POST", path, {"waitSeconds": 20}))["deliveries"]
    assert [one["eventType"] for one in first] == ["balance.credited"]  # the second waits for the first
    failed = {"deliveryId": first[0]["deliveryId"], "attempt": 1, "responseStatus": 500, "responseBody": "oh"}
    assert await shop.done("POST", path, {"results": [failed]}) == {"deliveries": []}
    again = f"{ENDPOINTS}/{endpoint['id']}/deliveries/{first[0]['deliveryId']}"
    await shop.done("POST", f"{again}/redeliver", status=202)
    second = (await shop.done("POST", path, {"waitSeconds": 20}))["deliveries"]
    assert (second[0]["attempt"], second[0]["body"]) == (2, first[0]["body"])
    done = {"deliveryId": second[0]["deliveryId"], "attempt": 2, "responseStatus": 204}
    third = (await shop.done("POST", path, {"results": [done], "waitSeconds": 20}))["deliveries"]
    assert third[0]["eventId"] != first[0]["eventId"]
    detail = await ended(shop, endpoint["id"], first[0]["deliveryId"])
    assert [(one["outcome"], one["responseStatus"]) for one in detail["attemptLog"]] == [
        ("DELIVERED", 204),
        ("FAILED", 500),
    ]
    # A result for somebody else's delivery has no effect.
    mine = await shop.done("POST", ENDPOINTS, {"kind": "PULL"}, status=201)
    forged = {"deliveryId": third[0]["deliveryId"], "attempt": 1, "responseStatus": 200}
    await shop.done("POST", f"{ENDPOINTS}/{mine['id']}/fetch", {"results": [forged]})
    theirs = await shop.done("GET", f"{ENDPOINTS}/{endpoint['id']}/deliveries/{third[0]['deliveryId']}")
    assert (theirs["status"], theirs["attemptLog"][0]["outcome"]) == ("PENDING", "SENDING")


async def test_production_sends_only_to_the_internet(environ: dict[str, str], shop: Marketplace) -> None:
    production = {
        **{name: value for name, value in environ.items() if name.startswith(("DATABASE", "REDIS"))},
        "NODE_ENV": "production",
        "OFFERHUB_MASTER_KEY": MASTER_KEY,
        "TRUSTLESS_API_KEY": "key",
        "TRUSTLESS_WEBHOOK_SECRET": "tw_whsec_x",
    }
    assert load(production).webhooks_out.public_targets_only
    with pytest.raises(SettingsError, match="WEBHOOK_TARGETS must not be any in production"):
        load({**production, "WEBHOOK_TARGETS": "any"})
    assert not load({**production, "WEBHOOK_TARGETS": "any-in-production"}).webhooks_out.public_targets_only
    async with running({**environ, "WEBHOOK_TARGETS": "public"}, jobs=False) as strict:
        there = shop.on(strict)
        for url in ("http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/"):
            details = await there.refused("POST", ENDPOINTS, {"url": url}, status=400, code="WEBHOOK_URL_FORBIDDEN")
            assert details["reason"]


async def test_another_process_takes_over_and_nothing_is_lost(
    office_environ: dict[str, str], shop: Marketplace, receiver: Receiver
) -> None:
    """Events that happened while no process ran jobs are sent once one does."""
    async with running(office_environ, jobs=False) as quiet:
        own = await Marketplace.found(quiet, shop.world, shop.http)
        endpoint = await made(own, receiver, "user.created")
        for _ in range(5):
            await own.done("POST", "/users", {"externalUserId": unique("quiet")}, status=201)
    assert receiver.got == []
    async with running(office_environ) as live:
        await receiver.until(5)
        assert len({got.id for got in receiver.got}) == 5
        await _all_delivered(live, endpoint["id"])


async def _all_delivered(live: Running, endpoint_id: str) -> None:
    sql = "SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1 AND status <> 'DELIVERED'"
    await eventually(lambda: live.value(sql, endpoint_id), lambda count: count == 0)
