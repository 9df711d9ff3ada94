"""The sandbox's Airtm: people by their addresses, payins and payouts through their states, the checkout page."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from airtm_driver import call, made, payin_of, payout_of, refusal
from sandbox_driver import PASSPHRASE, Answer, Sandbox, running

from offerhub.sandbox.options import SandboxOptions


def options(**changes: Any) -> SandboxOptions:
    return SandboxOptions(ledger_seconds=0, network_passphrase=PASSPHRASE, seed=21, **changes)


@pytest.fixture(scope="module")
async def airtm() -> AsyncIterator[Sandbox]:
    """A sandbox in which nothing settles by itself."""
    async with running(options(airtm_settle_seconds=0)) as started:
        yield started


async def test_the_key_is_asked_for(airtm: Sandbox) -> None:
    for headers in ({}, {"authorization": aiohttp.encode_basic_auth("sandbox-airtm-key", "wrong")}):
        answer = await airtm.call("GET", "/airtm/v2/me", headers=headers)
        assert (answer.status, refusal(answer)) == (401, "415006")
    assert (await call(airtm, "GET", "/me")).status == 200


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        ("ana@example.com", {"status": "active", "isVerified": True, "country": "MEX"}),
        ("ana+inactive@example.com", {"status": "inactive", "isVerified": True}),
        ("ana+unverified@example.com", {"status": "active", "isVerified": False}),
        ("ana+us@example.com", {"country": "USA"}),
    ],
)
async def test_a_tag_in_the_address_makes_the_person(airtm: Sandbox, email: str, expected: dict[str, Any]) -> None:
    found = (await call(airtm, "GET", f"/users/{email.replace('+', '%2B')}")).body
    assert {name: found[name] for name in expected} == expected
    assert found["id"] == (await call(airtm, "GET", f"/users/{email.upper().replace('+', '%2B')}")).body["id"]


async def test_nobody_signed_up_with_this_address(airtm: Sandbox) -> None:
    answer = await call(airtm, "GET", "/users/ana%2Bunknown@example.com")
    assert (answer.status, refusal(answer)) == (404, "415059")


async def test_a_payin_is_confirmed_less_the_fee(airtm: Sandbox) -> None:
    before = (await call(airtm, "GET", "/me/balance")).body
    payin = await made(airtm, "/payins", payin_of("in-1"))
    assert (payin["status"], payin["amount"], payin["netAmount"], payin["airtmFee"]) == ("CREATED", 25.5, 25.5, 0)
    for action, status in (("process", "PROCESSING"), ("confirm", "CONFIRMED")):
        fee = {"fee": "0.26"} if action == "confirm" else {}
        moved = await airtm.sim(f"/airtm/payins/{payin['id']}", {"action": action, **fee})
        assert moved["status"] == status
    read = (await call(airtm, "GET", "/payins/by-code/in-1")).body
    assert read == (await call(airtm, "GET", f"/payins/{payin['id']}")).body
    assert (read["status"], read["netAmount"], read["airtmFee"]) == ("CONFIRMED", 25.24, 0.26)
    after = (await call(airtm, "GET", "/me/balance")).body
    assert after["available"] == pytest.approx(before["available"] + 25.24)
    # What is confirmed is over: no control, no second code, no cancellation.
    assert "cannot" in (await airtm.sim(f"/airtm/payins/{payin['id']}", {"action": "fail"}, 400))["error"]
    assert refusal(await call(airtm, "POST", "/payins", payin_of("in-1"))) == "415029"
    assert refusal(await call(airtm, "DELETE", f"/payins/{payin['id']}")) == "415032"


async def test_a_payin_is_cancelled_while_nobody_has_confirmed_it(airtm: Sandbox) -> None:
    payin = await made(airtm, "/payins", payin_of("in-2"))
    assert (await call(airtm, "DELETE", f"/payins/{payin['id']}")).body["status"] == "CANCELED"
    assert refusal(await call(airtm, "DELETE", f"/payins/{payin['id']}")) == "415030"


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "25.5"},
        {"amount": 25.505},
        {"amount": 0},
        {"amount": 26.0},
        {"items": []},
        {"confirmationUri": "javascript:alert(1)"},
        {"surprise": 1},
        {"description": "x" * 251},
    ],
)
async def test_a_payin_must_be_well_formed(airtm: Sandbox, change: dict[str, Any]) -> None:
    answer = await call(airtm, "POST", "/payins", payin_of("in-bad") | change)
    assert (answer.status, refusal(answer)) == (400, "415054")
    assert refusal(await call(airtm, "GET", "/payins/by-code/in-bad")) == "415902"


async def test_a_payout_moves_money_only_once_it_is_committed(airtm: Sandbox) -> None:
    before = (await call(airtm, "GET", "/me/balance")).body
    payout = await made(airtm, "/payouts", payout_of("out-1", "ana+fee@example.com"))
    assert (payout["status"], payout["grossAmount"], payout["netAmount"]) == ("CREATED", 40, 39.6)
    assert (await call(airtm, "GET", "/me/balance")).body == before
    committed = await call(airtm, "POST", f"/payouts/{payout['id']}/commit")
    assert (committed.status, committed.body) == (204, "")
    held = (await call(airtm, "GET", "/me/balance")).body
    assert held["available"] == pytest.approx(before["available"] - 40)
    assert held["pending"] == pytest.approx(before["pending"] + 40)
    assert refusal(await call(airtm, "POST", f"/payouts/{payout['id']}/commit")) == "415027"
    assert refusal(await call(airtm, "DELETE", f"/payouts/{payout['id']}")) == "415055"
    await airtm.sim(f"/airtm/payouts/{payout['id']}", {"action": "complete"})
    paid = (await call(airtm, "GET", "/me/balance")).body
    assert (paid["available"], paid["pending"]) == (held["available"], before["pending"])
    events = (await call(airtm, "GET", f"/payouts/{payout['id']}/events")).body
    assert [event["status"] for event in events] == ["CREATED", "COMMITTED", "COMPLETED"]
    # Airtm may take back what it completed: the money returns as a deposit.
    await airtm.sim(f"/airtm/payouts/{payout['id']}", {"action": "refund"})
    newest = (await call(airtm, "GET", "/deposits")).body["items"][0]
    assert (newest["type"], newest["amount"], newest["refundedPayoutId"]) == ("refunded", 40, payout["id"])
    assert (await call(airtm, "GET", "/me/balance")).body == before


@pytest.mark.parametrize(
    ("action", "status"), [("fail", "FAILED"), ("cancel", "CANCELED"), ("wait", "PENDING_USER_ACTION")]
)
async def test_a_payout_can_end_otherwise(airtm: Sandbox, action: str, status: str) -> None:
    payout = await made(airtm, "/payouts", payout_of(f"out-{action}", commit=True))
    moved = await airtm.sim(f"/airtm/payouts/{payout['id']}", {"action": action})
    assert moved["status"] == status
    assert moved.get("reasonCode") == ("415073" if status == "FAILED" else None)
    listed = (await call(airtm, "GET", f"/payouts?status={status}")).body["items"]
    assert payout["id"] in [one["id"] for one in listed]


@pytest.mark.parametrize(
    ("email", "code"),
    [("ana+unknown@x.org", "415059"), ("ana+inactive@x.org", "415008"), ("ana+banned@x.org", "415010")],
)
async def test_some_people_cannot_be_paid(airtm: Sandbox, email: str, code: str) -> None:
    assert refusal(await call(airtm, "POST", "/payouts", payout_of(f"to-{code}", email))) == code


async def test_a_payout_that_the_balance_does_not_cover(airtm: Sandbox) -> None:
    for code, amount in (("out-magic", 77.77), ("out-huge", 2_000_000.0)):
        payout = await made(airtm, "/payouts", payout_of(code, amount=amount))
        assert refusal(await call(airtm, "POST", f"/payouts/{payout['id']}/commit")) == "415016"
        assert refusal(await call(airtm, "POST", "/payouts", payout_of(code))) == "415056"
        assert (await call(airtm, "DELETE", f"/payouts/{payout['id']}")).body["status"] == "CANCELED"


async def test_pages_of_payins(airtm: Sandbox) -> None:
    ids = [(await made(airtm, "/payins", payin_of(f"page-{number}")))["id"] for number in range(12)][::-1]
    first = (await call(airtm, "GET", "/payins?perPage=10")).body
    assert [one["id"] for one in first["items"]] == ids[:10]
    second = (await call(airtm, "GET", f"/payins?perPage=10&after={first['endCursor']}")).body
    assert [one["id"] for one in second["items"][:2]] == ids[10:]
    assert refusal(await call(airtm, "GET", "/payins?perPage=9")) == "415054"


async def submit(sandbox: Sandbox, payin: dict[str, Any], action: str, email: str = "ana@example.com") -> Answer:
    form = {"action": action, "email": email}
    return await sandbox.call("POST", f"/airtm-web/payin/{payin['id']}", data=form, allow_redirects=False)


async def test_the_checkout_page_pays_and_sends_on(airtm: Sandbox) -> None:
    payin = await made(airtm, "/payins", payin_of("page-pay") | {"description": "<b>Top-up</b>"})
    page = await airtm.call("GET", f"/airtm-web/payin/{payin['id']}")
    assert "25.50 USD" in page.body
    assert "&lt;b&gt;Top-up" in page.body
    assert "<script" not in page.body
    poor = await submit(airtm, payin, "pay", "ana+poor@example.com")
    assert (poor.status, "enough balance" in poor.body) == (409, True)
    sent = await submit(airtm, payin, "pay")
    assert (sent.status, sent.headers["location"]) == (303, "https://shop.example/done?x=1&code=page-pay")
    assert (await call(airtm, "GET", "/payins/by-code/page-pay")).body["status"] == "PROCESSING"
    assert (await submit(airtm, payin, "pay")).status == 409


@pytest.mark.parametrize(("action", "status"), [("cancel", "CANCELED"), ("fail", "FAILED")])
async def test_the_checkout_page_ends_a_payin(airtm: Sandbox, action: str, status: str) -> None:
    payin = await made(airtm, "/payins", payin_of(f"page-{action}"))
    assert (await submit(airtm, payin, action)).status == 303
    assert (await call(airtm, "GET", f"/payins/{payin['id']}")).body["status"] == status


async def test_time_settles_what_is_under_way() -> None:
    async with running(options(airtm_settle_seconds=60)) as sandbox:
        payin = await made(sandbox, "/payins", payin_of("time"))
        await submit(sandbox, payin, "pay")
        payouts = {
            tag: await made(sandbox, "/payouts", payout_of(tag, f"ana+{tag}@example.com", commit=True))
            for tag in ("fine", "declined", "waiting", "stuck")
        }
        left = await made(sandbox, "/payins", payin_of("left"))
        await sandbox.sim("/clock", {"advance_seconds": 60})
        assert (await call(sandbox, "GET", f"/payins/{payin['id']}")).body["status"] == "CONFIRMED"
        found = {
            tag: (await call(sandbox, "GET", f"/payouts/{payout['id']}")).body["status"]
            for tag, payout in payouts.items()
        }
        assert found == {
            "fine": "COMPLETED",
            "declined": "FAILED",
            "waiting": "PENDING_USER_ACTION",
            "stuck": "COMMITTED",
        }
        assert (await call(sandbox, "GET", f"/payins/{left['id']}")).body["status"] == "CREATED"
        await sandbox.sim("/clock", {"advance_seconds": 15 * 86_400})
        assert (await call(sandbox, "GET", f"/payins/{left['id']}")).body["status"] == "CANCELED"


async def test_ten_requests_a_second() -> None:
    async with running(options(airtm_rate_limited=True)) as sandbox:
        statuses = [(await call(sandbox, "GET", "/me")).status for _ in range(11)]
        assert statuses == [200] * 10 + [429]


async def test_a_restart_remembers_payins_and_payouts(tmp_path: Path) -> None:
    remembered = options(airtm_settle_seconds=0, state_file=tmp_path / "state")
    async with running(remembered) as first:
        payin = await made(first, "/payins", payin_of("kept"))
        payout = await made(first, "/payouts", payout_of("kept", commit=True))
        await first.sim(f"/airtm/payins/{payin['id']}", {"action": "confirm", "fee": "0.50"})
        balance = (await call(first, "GET", "/me/balance")).body
    async with running(remembered) as second:
        assert (await call(second, "GET", f"/payins/{payin['id']}")).body["netAmount"] == 25
        assert (await call(second, "GET", "/payouts/by-code/kept")).body["status"] == "COMMITTED"
        assert (await call(second, "GET", "/me/balance")).body == balance
        assert refusal(await call(second, "POST", "/payouts", payout_of("kept"))) == "415056"
        await second.sim(f"/airtm/payouts/{payout['id']}", {"action": "complete"})
