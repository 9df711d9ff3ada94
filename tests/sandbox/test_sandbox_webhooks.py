"""Airtm's webhooks: who gets them, how they are signed, when they are repeated, and what is kept of them."""

import hashlib
import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airtm_driver import call, made, payin_of, payout_of
from sandbox_driver import PASSPHRASE, Sandbox, running
from webhook_receiver import Received, Receiver, receiving

from offerhub.sandbox.options import SandboxOptions
from offerhub.sandbox.svix import BadSecret, headers, key_of, sign

OLD = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
NEW = "whsec_GBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc="
BODY = (
    b'{"type":"payin.confirmed","data":{"id":"0b9f6c1e-7c3b-4a55-9d57-2f1c6a1e0001",'
    b'"code":"topup_01J0000000000000000000001","status":"CONFIRMED","amount":25.5,"netAmount":25.5,"airtmFee":0}}'
)
HOUR = 3600
SCHEDULE = [0, 5, 300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR]


def options(**changes: Any) -> SandboxOptions:
    told: dict[str, Any] = {"ledger_seconds": 0, "clock": "stepped", "airtm_settle_seconds": 0, "seed": 41}
    return SandboxOptions(network_passphrase=PASSPHRASE, **{**told, **changes})


@pytest.fixture
async def shop() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def airtm(shop: Receiver) -> AsyncIterator[Sandbox]:
    async with running(options(webhook_urls=(shop.url,))) as started:
        yield started


def verified(received: Received, secret: str) -> dict[str, Any]:
    """What a receiver that knows one secret does."""
    assert received.is_signed_by(secret)
    assert abs(int(received.headers["svix-timestamp"]) - time.time()) < 300
    return received.json


async def attempts(sandbox: Sandbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await sandbox.sim("/airtm/webhooks/attempts"))["attempts"]
    return found


async def states(sandbox: Sandbox) -> list[str]:
    return [one["state"] for one in (await sandbox.sim("/airtm/webhooks/messages"))["messages"]]


def test_the_published_example_and_ours() -> None:
    published = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert published == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert hashlib.sha256(BODY).hexdigest() == "36de81497239d2831fecb8a7614a017108d8621658c311caae65d9b32eaa590d"
    message, moment = "msg_2test0000000000000000001", 1760000000
    first = "v1,v9dD8UfjWt6zTPKPm9KKnQaaxbPp3EqeTiImw/7x38s="
    second = "v1,BhcJrTjN++JD9flsx8vtTYskmSEK/JDyyqP27/Bg4mg="
    assert sign(OLD, message, moment, BODY) == first
    assert sign(NEW, message, moment, BODY) == second
    assert sign(OLD, message, moment + 5, BODY) == "v1,XIJr00vTtiqQBeYi6aqOHmBA6sj1isygr3rfYAUYu20="
    assert headers([NEW, OLD], message, moment, BODY) == {
        "svix-id": message,
        "svix-timestamp": "1760000000",
        "svix-signature": f"{second} {first}",
    }


@pytest.mark.parametrize("secret", ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "whsec_", "whsec_AAEC", "whsec_!", "whsec_ä"])
def test_what_cannot_sign_is_refused(secret: str) -> None:
    with pytest.raises(BadSecret):
        key_of(secret)


async def test_the_eight_events_and_nothing_else(airtm: Sandbox, shop: Receiver) -> None:
    for action in ("confirm", "fail", "cancel"):
        payin = await made(airtm, "/payins", payin_of(f"in-{action}"))
        await airtm.sim(f"/airtm/payins/{payin['id']}", {"action": action})
    for action in ("complete", "fail", "cancel"):
        payout = await made(airtm, "/payouts", payout_of(f"out-{action}", commit=True))
        for silent in ("process", "wait", "odd"):
            await airtm.sim(f"/airtm/payouts/{payout['id']}", {"action": silent})
        await airtm.sim(f"/airtm/payouts/{payout['id']}", {"action": action})
    bodies = [verified(one, airtm.info["airtm_webhook_secret"]) for one in await shop.until(12)]
    assert sorted((body["type"], body["data"]["code"]) for body in bodies) == [
        ("payin.canceled", "in-cancel"),
        ("payin.confirmed", "in-confirm"),
        *[("payin.created", f"in-{word}") for word in ("cancel", "confirm", "fail")],
        ("payin.failed", "in-fail"),
        ("payout.canceled", "out-cancel"),
        ("payout.completed", "out-complete"),
        *[("payout.created", f"out-{word}") for word in ("cancel", "complete", "fail")],
        ("payout.failed", "out-fail"),
    ]
    confirmed = next(body for body in bodies if body["type"] == "payin.confirmed")
    assert confirmed["data"] == (await call(airtm, "GET", f"/payins/{confirmed['data']['id']}")).body
    await airtm.sim("/advance", {"seconds": 0})
    assert len(shop.got) == 12


async def test_a_failed_attempt_is_repeated_on_the_schedule_under_one_id(airtm: Sandbox, shop: Receiver) -> None:
    shop.answers = [500, 302, 400, 404, 429, 503, 500, 500]
    await made(airtm, "/payins", payin_of("refused"))
    await shop.until(1)
    for count, seconds in enumerate(SCHEDULE[1:], start=2):
        await airtm.sim("/advance", {"seconds": seconds - 1})
        assert len(shop.got) == count - 1
        await airtm.sim("/advance", {"seconds": 1})
        assert len(shop.got) == count
    await airtm.sim("/advance", {"seconds": 86_400})
    assert len({one.id for one in shop.got}) == 1
    assert len({one.body for one in shop.got}) == 1
    assert (len(shop.got), await states(airtm)) == (8, ["failed"])
    for one in shop.got:
        verified(one, airtm.info["airtm_webhook_secret"])
    log = await attempts(airtm)
    assert [(one["attempt"], one["status"], one["delivered"]) for one in log] == [
        (number, status, False) for number, status in enumerate([500, 302, 400, 404, 429, 503, 500, 500], start=1)
    ]
    assert [round(later["at"] - earlier["at"]) for earlier, later in pairwise(log)] == SCHEDULE[1:]


async def test_a_success_ends_it(airtm: Sandbox, shop: Receiver) -> None:
    shop.answers = [500, 204]
    await made(airtm, "/payins", payin_of("twice"))
    await airtm.sim("/advance", {"seconds": 86_400})
    assert (len(shop.got), await states(airtm)) == (2, ["delivered"])


async def test_a_message_is_sent_again_by_hand(airtm: Sandbox, shop: Receiver) -> None:
    shop.answers = [500] * 8
    await made(airtm, "/payins", payin_of("lost"))
    await airtm.sim("/advance", {"seconds": 2 * 86_400})
    message = (await airtm.sim("/airtm/webhooks/messages"))["messages"][0]
    assert message["state"] == "failed"
    await airtm.sim(f"/airtm/webhooks/messages/{message['id']}/replay", {})
    await airtm.sim("/advance", {"seconds": 0})
    assert (shop.got[-1].id, len(shop.got), await states(airtm)) == (message["id"], 9, ["delivered"])
    # A delivered one can be sent again, too; there is nothing left to recover.
    await airtm.sim(f"/airtm/webhooks/messages/{message['id']}/replay", {})
    await airtm.sim("/advance", {"seconds": 0})
    assert len(shop.got) == 10
    assert await airtm.sim("/airtm/webhooks/recover", {"since": 0}) == {"replayed": 0}
    await airtm.sim("/airtm/webhooks/messages/msg_none/replay", {}, status=400)


async def test_an_endpoint_that_only_fails_is_switched_off(airtm: Sandbox, shop: Receiver) -> None:
    shop.answers = [500] * 100
    for day in range(7):
        await made(airtm, "/payins", payin_of(f"day-{day}"))
        await airtm.sim("/advance", {"seconds": 86_400})
    (endpoint,) = (await airtm.sim("/airtm/webhooks"))["endpoints"]
    assert endpoint["disabled"] is True
    before, shop.answers = len(shop.got), []
    await made(airtm, "/payins", payin_of("nobody-hears"))
    await airtm.sim("/advance", {"seconds": 86_400})
    assert len(shop.got) == before
    (endpoint,) = (await airtm.sim(f"/airtm/webhooks/endpoints/{endpoint['id']}/enable", {}))["endpoints"]
    assert endpoint["disabled"] is False
    assert (await airtm.sim("/airtm/webhooks/recover", {"since": 0}))["replayed"] == 8
    await airtm.sim("/advance", {"seconds": 0})
    assert (len(shop.got), set(await states(airtm))) == (before + 8, {"delivered"})


async def test_during_a_rotation_either_secret_is_enough(airtm: Sandbox, shop: Receiver) -> None:
    old = airtm.info["airtm_webhook_secret"]
    (endpoint,) = (await airtm.sim("/airtm/webhooks/endpoints/ep_1/rotate", {}))["endpoints"]
    new = endpoint["secrets"][0]
    assert endpoint["secrets"] == [new, old]
    await made(airtm, "/payins", payin_of("rotating"))
    (received,) = await shop.until(1)
    verified(received, old)
    verified(received, new)
    (endpoint,) = (await airtm.sim("/airtm/webhooks/endpoints/ep_1/retire", {}))["endpoints"]
    assert endpoint["secrets"] == [new]
    await made(airtm, "/payins", payin_of("rotated"))
    received = (await shop.until(2))[1]
    verified(received, new)
    with pytest.raises(AssertionError):
        verified(received, old)


async def test_an_endpoint_has_its_own_secret_events_and_shape(airtm: Sandbox, shop: Receiver) -> None:
    endpoint = {"url": shop.url, "secrets": [NEW], "types": ["payin.created"], "bare": True}
    await airtm.sim("/airtm/webhooks", {"endpoints": [endpoint]})
    payin = await made(airtm, "/payins", payin_of("bare"))
    await airtm.sim(f"/airtm/payins/{payin['id']}", {"action": "confirm"})
    await airtm.sim("/advance", {"seconds": 0})
    (received,) = shop.got
    assert verified(received, NEW) == payin


@pytest.mark.parametrize(
    "endpoint",
    [
        {"url": "https://shop.example/hook"},
        {"url": "http://10.0.0.1/hook"},
        {"url": "http://127.0.0.1.nip.example/hook"},
        {"url": "ftp://127.0.0.1/hook"},
        {"url": "http://[::1/hook"},
        {"url": "http://127.0.0.1/hook", "secrets": ["secret"]},
        {"url": "http://127.0.0.1/hook", "types": ["payin.succeeded"]},
    ],
)
async def test_an_endpoint_that_cannot_be(airtm: Sandbox, endpoint: dict[str, Any]) -> None:
    refused = await airtm.sim("/airtm/webhooks", {"endpoints": [endpoint]}, status=400)
    assert refused["error"]
    assert len((await airtm.sim("/airtm/webhooks"))["endpoints"]) == 1


async def test_an_early_webhook_comes_before_the_change_can_be_read(airtm: Sandbox, shop: Receiver) -> None:
    await airtm.sim("/airtm/webhooks", {"endpoints": [{"url": shop.url, "early_seconds": 10}]})
    payin = await made(airtm, "/payins", payin_of("early"))
    await shop.until(1)
    path = f"/payins/{payin['id']}"
    assert (await call(airtm, "GET", path)).status == 404
    assert (await call(airtm, "GET", "/payins")).body["items"] == []
    await airtm.sim("/advance", {"seconds": 10})
    assert (await call(airtm, "GET", path)).body["status"] == "CREATED"
    await airtm.sim(f"/airtm{path}", {"action": "confirm"})
    told = json.loads((await shop.until(2))[1].body)
    assert told["data"]["status"] == "CONFIRMED"
    assert (await call(airtm, "GET", path)).body["status"] == "CREATED"
    assert (await call(airtm, "GET", "/payins/by-code/early")).body["status"] == "CREATED"
    await airtm.sim("/advance", {"seconds": 10})
    assert (await call(airtm, "GET", path)).body["status"] == "CONFIRMED"


async def test_nobody_listens(airtm: Sandbox) -> None:
    await airtm.sim("/airtm/webhooks", {"endpoints": [{"url": "http://127.0.0.1:1/hook"}]})
    await made(airtm, "/payins", payin_of("unheard"))
    await airtm.sim("/advance", {"seconds": 5})
    first, second = await attempts(airtm)
    assert (first["status"], second["attempt"]) == (None, 2)
    assert "ClientConnectorError" in first["error"]


async def test_a_restart_goes_on_with_the_schedule(tmp_path: Path, shop: Receiver) -> None:
    path = tmp_path / "state.jsonl"
    shop.answers = [500, 500]
    async with running(options(state_file=path, webhook_urls=(shop.url,))) as first:
        await made(first, "/payins", payin_of("survives"))
        await first.sim("/advance", {"seconds": 5})
        assert len(shop.got) == 2
    async with running(options(state_file=path)) as second:
        assert (await second.sim("/airtm/webhooks"))["endpoints"][0]["url"] == shop.url
        assert len(await attempts(second)) == 2
        await second.sim("/advance", {"seconds": 299})
        assert len(shop.got) == 2
        await second.sim("/advance", {"seconds": 1})
        assert (len(shop.got), await states(second)) == (3, ["delivered"])
        await made(second, "/payins", payin_of("another"))
        assert len({one.id for one in await shop.until(4)}) == 2
