"""The sandbox's Connect: OAuth with consent, quotes, and transactions that move USDC on the sandbox's Stellar."""

import asyncio
import base64
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from airtm_driver import call as enterprise
from airtm_driver import payin_of
from connect_driver import (
    ALL,
    BASE,
    CALLBACK,
    Connected,
    code_of,
    connected,
    consented,
    exchange_of,
    query,
    returned,
    token,
)
from sandbox_driver import PASSPHRASE, Answer, Sandbox, running
from stellar_sdk import Keypair
from webhook_receiver import receiving

from offerhub.cli.main import main
from offerhub.sandbox.options import SandboxOptions

HOUR, DAY = 3_600, 86_400


def options(**changes: Any) -> SandboxOptions:
    """Time and ledgers move on demand only."""
    told: dict[str, Any] = {"ledger_seconds": 0, "clock": "stepped", "start_at": 1_800_000_000.0, "seed": 61}
    more = {"connect": True, "connect_redirect_uris": (CALLBACK,), "network_passphrase": PASSPHRASE}
    return SandboxOptions(**{**told, **more, **changes})


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[Sandbox]:
    """For tests that let no time pass; each has users of its own."""
    async with running(options()) as started:
        yield started


@pytest.fixture
async def own() -> AsyncIterator[Sandbox]:
    async with running(options()) as started:
        yield started


async def advance(sandbox: Sandbox, seconds: int) -> None:
    await sandbox.sim("/advance", {"seconds": seconds})


async def close(sandbox: Sandbox) -> None:
    await sandbox.sim("/close", {})


async def pay(sandbox: Sandbox, deposit: dict[str, Any], amount: str | None = None, memo: str | None = None) -> str:
    """Pay what a receive expects, or something else, from a wallet outside; the hash."""
    payer = await sandbox.wallet("1000")
    body = {"secret": payer.secret, "destination": deposit["stellarAddress"]}
    told = {"amount": amount or deposit["amountExpected"], "memo": memo or deposit["memo"]}
    return str((await sandbox.sim("/pay", {**body, **told}))["hash"])


def refusal(answer: Answer) -> tuple[int, str | None]:
    """Status, and the code or the word of OAuth."""
    assert answer.body["message"]
    return answer.status, answer.body.get("code") or answer.body.get("error")


# -- the switch ----------------------------------------------------------------------------------------------------


async def test_without_the_option_there_is_no_connect(manual: Sandbox) -> None:
    for path in ("/balance", "/oidc/.well-known/openid-configuration", "/transactions"):
        assert (await manual.call("GET", BASE + path)).status == 404
    refused = await manual.sim("/airtm/connect/wallets", status=400)
    assert "--connect" in refused["error"]
    assert "airtm_connect_url" not in manual.info


# -- OAuth ---------------------------------------------------------------------------------------------------------


async def test_discovery_leads_to_tokens_whose_signature_can_be_checked(shared: Sandbox) -> None:
    issuer = shared.info["airtm_connect_issuer"]
    assert issuer == shared.info["airtm_connect_url"] + "/oidc"
    found = (await shared.call("GET", issuer.removeprefix(shared.base) + "/.well-known/openid-configuration")).body
    assert (found["issuer"], found["code_challenge_methods_supported"]) == (issuer, ["S256"])
    assert set(found["scopes_supported"]) == set(ALL.split())
    user = await connected(shared, "Ana@example.com")
    assert (user.tokens["expires_in"], user.tokens["token_type"], user.tokens["scope"]) == (HOUR, "Bearer", ALL)
    head, claims, signature = user.tokens["id_token"].split(".")
    (key,) = (await shared.call("GET", found["jwks_uri"].removeprefix(shared.base))).body["keys"]
    signer = Keypair.from_raw_ed25519_public_key(unpadded(key["x"]))
    signer.verify(f"{head}.{claims}".encode(), unpadded(signature))
    told = json.loads(unpadded(claims))
    assert (told["iss"], told["aud"], told["nonce"]) == (issuer, "sandbox-connect-client", "n1")
    info = await user.get("/oidc/userinfo")
    assert info == {name: told[name] for name in info}
    assert (info["email"], info["name"]) == ("ana@example.com", "Ana Sandbox")


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_a_user_allows_or_refuses_on_the_page(shared: Sandbox) -> None:
    page = await shared.call("GET", f"{BASE}/oidc/authorize", params=query())
    assert page.status == 200
    assert "send USDC from your wallet" in page.body
    assert "script" not in page.body

    async def press(action: str, email: str = "bea@example.com") -> Answer:
        form = {"action": action, "email": email}
        path = f"{BASE}/oidc/authorize"
        return await shared.call("POST", path, params=query(), data=form, allow_redirects=False)

    allowed = await press("allow")
    back = returned(allowed.headers["location"])
    assert (allowed.status, back["state"]) == (303, "s1")
    assert (await token(shared, exchange_of(back["code"]))).status == 200
    refused = await press("deny")
    assert returned(refused.headers["location"]) == {"shop": "1", "error": "access_denied", "state": "s1"}
    for email in ("bea+unknown@example.com", "bea+inactive@example.com", "nobody"):
        assert (await press("allow", email)).status == 409
    assert (await press("dance")).status == 400


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client_id": "somebody"}, None),
        ({"redirect_uri": "http://127.0.0.1:3000/callback"}, None),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"scope": "openid wallet:steal"}, "invalid_scope"),
        ({"scope": "wallet:read"}, "invalid_scope"),
    ],
    ids=str,
)
async def test_what_a_client_must_ask_for(shared: Sandbox, change: dict[str, Any], error: str | None) -> None:
    path = f"{BASE}/oidc/authorize"
    for method in ("GET", "POST"):
        answer = await shared.call(method, path, params=query(**change), allow_redirects=False)
        if error is None:
            # Nobody is sent to an address that is not registered.
            assert (answer.status, "location" in answer.headers) == (400, False)
        else:
            back = returned(answer.headers["location"])
            assert (answer.status, back["error"], back["state"]) == (303, error, "s1")


async def test_a_code_is_good_once_for_ten_minutes_and_for_its_own_client(own: Sandbox) -> None:
    code = await consented(own, "cleo@example.com")
    for change in ({"code_verifier": "x" * 43}, {"redirect_uri": "http://127.0.0.1/"}, {"code": "code_0"}):
        answer = await token(own, exchange_of(code, **change))
        assert (answer.status, answer.body["error"]) == (400, "invalid_grant")
    wrong = await token(own, exchange_of(code), authorization="Basic c2FuZGJveDp3cm9uZw==")
    assert (wrong.status, wrong.body["error"]) == (401, "invalid_client")
    assert (await token(own, {"grant_type": "password"})).body["error"] == "unsupported_grant_type"
    answer = await token(own, exchange_of(code))
    user = Connected(own, "cleo@example.com", answer.body)
    assert await user.balance() == "0.00"
    # The second exchange of a code is a theft: what the first one gave ends.
    assert (await token(own, exchange_of(code))).body["error"] == "invalid_grant"
    assert refusal(await user.call("GET", "/balance")) == (401, "invalid_token")
    late = await consented(own, "cleo@example.com")
    await advance(own, 599)
    in_time = await consented(own, "cleo@example.com")
    await advance(own, 1)
    assert (await token(own, exchange_of(late))).body["error"] == "invalid_grant"
    assert (await token(own, exchange_of(in_time))).status == 200


async def test_refresh_tokens_rotate_and_a_replayed_one_revokes_everything(own: Sandbox) -> None:
    user = await connected(own, "dan@example.com")
    first = user.tokens
    await advance(own, HOUR)
    assert refusal(await user.call("GET", "/balance")) == (401, "invalid_token")

    async def refreshed(refresh: str, **more: str) -> Answer:
        return await token(own, {"grant_type": "refresh_token", "refresh_token": refresh, **more})

    second = await refreshed(first["refresh_token"], scope="openid wallet:read")
    assert (second.status, second.body["scope"]) == (200, "openid wallet:read")
    assert second.body["refresh_token"] != first["refresh_token"]
    user.tokens = second.body
    assert await user.balance() == "0.00"
    assert refusal(await user.call("GET", "/kyc")) == (403, "insufficient_scope")
    assert (await refreshed(first["refresh_token"])).body["error"] == "invalid_grant"
    assert refusal(await user.call("GET", "/balance")) == (401, "invalid_token")
    assert (await refreshed(second.body["refresh_token"])).body["error"] == "invalid_grant"

    later = await connected(own, "dan@example.com")
    await advance(own, 30 * DAY)
    assert (await refreshed(later.tokens["refresh_token"])).body["error"] == "invalid_grant"
    brief = await connected(own, "dan@example.com", scope="openid wallet:read")
    assert "refresh_token" not in brief.tokens


async def test_a_token_reaches_as_far_as_its_scopes(shared: Sandbox) -> None:
    user = await connected(shared, "eva@example.com", scope="openid wallet:read")
    send = {"scope": "wallet:send", "amountToSend": "1.00"}
    answer = await user.call("POST", "/quotes", send)
    assert refusal(answer) == (403, "insufficient_scope")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert refusal(await shared.call("GET", BASE + "/balance")) == (401, "invalid_token")
    (grant,) = [
        one for one in (await shared.sim("/airtm/connect/grants"))["grants"] if one["email"] == "eva@example.com"
    ]
    assert (await shared.call("DELETE", f"/_sim/airtm/connect/grants/{grant['id']}")).body["revoked"] is True
    assert refusal(await user.call("GET", "/balance")) == (401, "invalid_token")


# -- wallets and quotes --------------------------------------------------------------------------------------------


async def test_a_wallet_and_what_is_known_of_its_owner(shared: Sandbox) -> None:
    user = await connected(shared, "fay@example.com", give="125.40")
    shown = await user.get("/balance")
    assert {name: shown[name] for name in ("asset", "network", "balance")} == {
        "asset": "USDC",
        "network": "stellar",
        "balance": "125.40",
    }
    kyc = await user.get("/kyc")
    assert (kyc["status"], kyc["fullLegalName"], kyc["country"]) == ("verified", "Fay Sandbox", "MEX")
    for status in ("in_progress", "pending_review", "unverified"):
        await shared.sim("/airtm/connect/wallets", {"email": "fay@example.com", "kyc": status})
        assert (await user.get("/kyc"))["status"] == status
    await shared.sim("/airtm/connect/wallets", {"email": "fay@example.com", "kyc": "verified"})
    assert (await user.get("/kyc"))["verifiedAt"].startswith("2027-01-15T")


async def test_equal_parameters_give_the_same_quote_for_an_hour(own: Sandbox) -> None:
    user = await connected(own, "gil+fee@example.com")
    first = await user.quote("send", amountToReceive="98.50", partnerFee="0.50")
    assert (first["amountToSend"], first["amountToReceive"]) == ("99.99", "98.50")
    assert (first["airtmFee"], first["partnerFee"]) == ("0.99", "0.50"), "the fee is rounded down"
    assert await user.quote("send", amountToReceive="98.5", partnerFee="0.50") == first
    other = await user.quote("send", amountToSend="100.00", partnerFee="0.50")
    assert (other["id"] == first["id"], other["amountToReceive"], other["airtmFee"]) == (False, "98.50", "1.00")
    await advance(own, HOUR - 1)
    assert (await user.quote("send", amountToReceive="98.50", partnerFee="0.50"))["id"] == first["id"]
    await advance(own, 1)
    user = await connected(own, "gil+fee@example.com")
    assert (await user.quote("send", amountToReceive="98.50", partnerFee="0.50"))["id"] != first["id"]
    body = {"quoteId": first["id"], "scope": "wallet:receive", "partnerReference": "r"}
    assert refusal(await user.call("POST", "/transactions", body)) == (400, "415054")
    place = {"stellarAddress": Keypair.random().public_key}
    late = {"quoteId": first["id"], "scope": "wallet:send", "destination": place}
    assert refusal(await user.call("POST", "/transactions", late)) == (400, "415115")


@pytest.mark.parametrize(
    "amounts",
    [
        {},
        {"amountToSend": "1.00", "amountToReceive": "1.00"},
        {"amountToSend": "1.001"},
        {"amountToSend": "0"},
        {"amountToSend": "10000.01"},
        {"amountToSend": "-1"},
        {"amountToSend": 1.5},
        {"amountToSend": "1.00", "partnerFee": "1.00"},
        {"amountToSend": "1.00", "colour": "red"},
    ],
    ids=str,
)
async def test_a_quote_is_read_strictly(shared: Sandbox, amounts: dict[str, Any]) -> None:
    user = await connected(shared, "hal@example.com")
    assert refusal(await user.call("POST", "/quotes", {"scope": "wallet:send", **amounts})) == (400, "415054")


# -- sending -------------------------------------------------------------------------------------------------------


async def test_a_send_pays_on_stellar_once_its_user_has_confirmed(own: Sandbox) -> None:
    user = await connected(own, "ida@example.com", give="100.00")
    wallet = await own.wallet()
    send = await user.send("40.00", wallet.public_key, memo="topup-1", partnerReference="topup-1")
    assert send["status"] == "pending_user_confirmation"
    assert send["destination"] == {"stellarAddress": wallet.public_key, "memo": "topup-1", "memoType": "MEMO_TEXT"}
    assert await user.balance() == "60.00"
    wrong = "0000" if await user.code(send) != "0000" else "0001"
    assert refusal(await user.confirm(send, wrong)) == (400, "415123")
    for code in ("123", "123456789", "12a456"):
        assert refusal(await user.confirm(send, code)) == (400, "415054")
    confirmed = await user.confirm(send)
    assert (confirmed.status, confirmed.body["status"]) == (200, "pending_settlement")
    assert refusal(await user.confirm(send)) == (409, "415122")
    assert await own.usdc_of(wallet.public_key) == "0.0000000"
    await close(own)
    assert await own.usdc_of(wallet.public_key) == "40.0000000"
    done = await user.get("/transactions/by-reference/topup-1")
    assert (done["status"], done) == ("completed", await user.get(f"/transactions/{send['id']}"))
    paid = await own.get(f"/transactions/{done['stellarTransactionHash']}")
    assert (paid["memo_type"], paid["memo"]) == ("text", "topup-1")
    assert await user.balance() == "60.00"


async def test_a_send_that_the_network_refuses_gives_the_money_back(own: Sandbox) -> None:
    user = await connected(own, "jon@example.com", give="10.00")
    send = await user.send("10.00", Keypair.random().public_key)
    await user.confirm(send)
    await close(own)
    failed = await user.get(f"/transactions/{send['id']}")
    assert (failed["status"], await user.balance()) == ("failed", "10.00")
    assert "op_no_destination" in failed["failureReason"]
    over = await user.quote("send", amountToSend="10.01")
    place = {"stellarAddress": (await own.wallet()).public_key}
    body = {"quoteId": over["id"], "scope": "wallet:send", "destination": place}
    assert refusal(await user.call("POST", "/transactions", body)) == (400, "415034")
    # Nobody confirms this one.
    send = await user.send("4.00", place["stellarAddress"])
    await advance(own, HOUR)
    user = await connected(own, "jon@example.com")
    assert (await user.status(send), await user.balance()) == ("failed", "10.00")
    assert refusal(await user.confirm(send)) == (409, "415122")
    declined = await connected(own, "jon+declined@example.com", give="5.00")
    send = await declined.send("5.00", place["stellarAddress"])
    assert (await declined.confirm(send)).body["status"] == "failed"
    assert await declined.balance() == "5.00"
    send = await declined.send("5.00", place["stellarAddress"])
    assert (await own.sim(f"/airtm/connect/transactions/{send['id']}", {"action": "fail"}))["status"] == "failed"


async def test_another_code_can_be_asked_for_every_minute(own: Sandbox) -> None:
    user = await connected(own, "kim@example.com", give="10.00")
    send = await user.send("1.00", (await own.wallet()).public_key)
    old = await user.code(send)
    path = f"/transactions/{send['id']}/2fa/resend"
    assert refusal(await user.call("POST", path)) == (429, None)
    await advance(own, 60)
    assert (await user.call("POST", path)).status == 200
    assert (await user.call("POST", path)).status == 429
    assert await user.code(send) != old
    assert refusal(await user.confirm(send, old)) == (400, "415123")
    assert (await user.confirm(send)).status == 200
    assert refusal(await user.call("POST", path)) == (409, "415122")


async def test_many_sends_share_a_ledger_and_the_rest_takes_the_next(own: Sandbox) -> None:
    user = await connected(own, "liv@example.com", give="80.00")
    wallet = await own.wallet()
    sends = [await user.send("1.00", wallet.public_key) for _ in range(40)]
    for send in sends:
        assert (await user.confirm(send)).body["status"] == "pending_settlement"
    await close(own)
    assert await own.usdc_of(wallet.public_key) == "32.0000000"
    await close(own)
    assert await own.usdc_of(wallet.public_key) == "40.0000000"
    assert {await user.status(send) for send in sends} == {"completed"}


# -- receiving -----------------------------------------------------------------------------------------------------


async def test_a_receive_is_completed_by_the_payment_it_expects_and_by_no_other(own: Sandbox) -> None:
    user = await connected(own, "mia+fee@example.com")
    receive = await user.receive("50.00", "payout-1")
    deposit = receive["deposit"]
    assert (receive["status"], deposit["amountExpected"], deposit["memoType"]) == ("created", "50.00", "MEMO_TEXT")
    assert len(deposit["memo"].encode()) <= 28
    strays = {
        await pay(own, deposit, memo="something else"): "unknown_memo",
        await pay(own, deposit, amount="49.99"): "wrong_amount",
    }
    assert (await user.status(receive), await user.balance()) == ("created", "0.00")
    paid = await pay(own, deposit)
    done = await user.get(f"/transactions/{receive['id']}")
    assert (done["status"], done["stellarTransactionHash"]) == ("completed", paid)
    assert await user.balance() == "49.50", "the fee is kept"
    strays[await pay(own, deposit)] = "already_paid"
    late = await user.receive("5.00", "payout-2")
    await advance(own, HOUR)
    strays[await pay(own, late["deposit"])] = "expired"
    user = await connected(own, "mia+fee@example.com")
    assert (await user.status(late), await user.balance()) == ("failed", "49.50")
    found = (await own.sim("/airtm/connect/strays"))["strays"]
    assert {one["hash"]: one["reason"] for one in found} == strays
    assert [one["amount"] for one in found] == ["50.0000000", "49.9900000", "50.0000000", "5.0000000"]


async def test_one_user_pays_another_over_stellar(own: Sandbox) -> None:
    nia, oli = await connected(own, "nia@example.com", give="20.00"), await connected(own, "oli@example.com")
    deposit = (await oli.receive("20.00", "gift"))["deposit"]
    send = await nia.send("20.00", deposit["stellarAddress"], memo=deposit["memo"])
    await nia.confirm(send)
    await close(own)
    assert (await nia.balance(), await oli.balance()) == ("0.00", "20.00")
    assert refusal(await oli.call("GET", f"/transactions/{send['id']}")) == (404, "415902")


# -- what makes a transaction one and the same ---------------------------------------------------------------------


async def test_a_key_replays_and_a_reference_is_used_once_for_ever(own: Sandbox) -> None:
    user = await connected(own, "pam@example.com")
    quote = await user.quote("receive", amountToSend="5.00")
    body = {"quoteId": quote["id"], "scope": "wallet:receive", "partnerReference": "ref-1"}

    async def made(change: dict[str, Any], key: str) -> Answer:
        return await user.call("POST", "/transactions", {**body, **change}, **{"idempotency-key": key})

    first = await made({}, "key-1")
    again = await user.call("POST", "/transactions", dict(reversed(body.items())), **{"idempotency-key": "key-1"})
    assert (first.status, again.status, first.body) == (201, 200, again.body)
    for answer in (await made({"partnerReference": "ref-2"}, "key-1"), await made({}, "key-2")):
        assert refusal(answer) == (409, None)
    await own.sim(f"/airtm/connect/transactions/{first.body['id']}", {"action": "fail"})
    assert refusal(await made({}, "key-3")) == (409, None), "a failed one has used it up as well"
    assert (await made({}, "key-1")).body["status"] == "failed"
    missing = {name: value for name, value in body.items() if name != "partnerReference"}
    assert refusal(await user.call("POST", "/transactions", missing)) == (400, "415054")
    assert refusal(await made({"partnerReference": "a" * 17}, "key-4")) == (400, "415054")
    assert refusal(await made({"partnerReference": "ref-9", "quoteId": "none"}, "key-5")) == (404, "415902")
    send = await user.quote("send", amountToSend="5.00")
    place = {"stellarAddress": Keypair.random().public_key, "memo": "é" * 15}
    long = {"quoteId": send["id"], "scope": "wallet:send", "destination": place}
    assert refusal(await user.call("POST", "/transactions", long)) == (400, "415120")


async def test_transactions_are_listed_by_page_and_time(own: Sandbox) -> None:
    user = await connected(own, "quin@example.com")
    made = [(await user.receive("1.00", f"list-{number}"))["id"] for number in range(3)]
    await advance(own, 60)
    made.append((await user.receive("1.00", "list-3"))["id"])
    page = await user.get("/transactions?limit=3")
    assert ([one["id"] for one in page["items"]], page["nextCursor"]) == (made[:0:-1], made[1])
    last = await user.get(f"/transactions?limit=3&cursor={page['nextCursor']}")
    assert ([one["id"] for one in last["items"]], last["nextCursor"]) == ([made[0]], None)
    early = await user.get("/transactions?from=2027-01-15T08:00:00Z&to=2027-01-15T08:00:30Z")
    assert len(early["items"]) == 3
    span = "from=2027-01-01T00:00:00Z&to=2027-02-01T00:00:01Z"
    for wrong in (span, "limit=0", "limit=501", "cursor=none", "from=yesterday", "from=2027-02-01&to=2027-01-31"):
        assert refusal(await user.call("GET", f"/transactions?{wrong}")) == (400, "415054")


# -- the commands --------------------------------------------------------------------------------------------------


async def test_the_commands_do_what_a_user_would(own: Sandbox) -> None:
    """`offerhub sandbox connect …`, from the money to the payment."""

    def run(*words: str) -> Any:
        command = ["offerhub", "sandbox", "connect", *words, "--url", own.base, "--json"]
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
            patch.setattr(sys, "argv", command)
            with suppress(SystemExit):
                main()
        return json.loads(out.getvalue())

    async def offerhub(*words: str) -> Any:
        return await asyncio.to_thread(run, *words)

    assert await offerhub("redirect", CALLBACK) == {"id": "sandbox-connect-client", "redirect_uris": [CALLBACK]}
    given = await offerhub("wallet", "xia@example.com", "--give", "30.00", "--kyc", "in_progress")
    assert given == {"email": "xia@example.com", "balance": "30.00", "kyc": "in_progress"}
    assert await offerhub("wallet") == [given]
    url = f"{own.base}{BASE}/oidc/authorize?{urlencode(query())}"
    denied = await offerhub("consent", url, "xia@example.com", "deny")
    assert returned(denied["redirect"])["error"] == "access_denied"
    allowed = await offerhub("consent", url, "xia@example.com")
    issued = await token(own, exchange_of(returned(allowed["redirect"])["code"]))
    user = Connected(own, "xia@example.com", issued.body)
    await user.send("10.00", (await own.wallet()).public_key, partnerReference="cli-1")
    (listed,) = await offerhub("transaction", "list", "cli-1")
    assert listed["twoFactorCode"].isdecimal()
    assert (await offerhub("transaction", "confirm", "cli-1"))["status"] == "pending_settlement"
    await close(own)
    assert (await offerhub("transaction"))[0]["status"] == "completed"
    assert await offerhub("strays") == []
    (grant,) = await offerhub("grant")
    assert (await offerhub("grant", "revoke", grant["id"]))["revoked"] is True
    assert refusal(await user.call("GET", "/balance")) == (401, "invalid_token")


# -- webhooks, faults, restarts ------------------------------------------------------------------------------------


async def test_webhooks_tell_each_step_signed_as_airtm_signs_the_others(own: Sandbox) -> None:
    async with receiving() as shop:
        await own.sim("/airtm/webhooks", {"endpoints": [{"url": shop.url}]})
        user = await connected(own, "rex@example.com", give="5.00")
        send = await user.send("5.00", (await own.wallet()).public_key)
        await advance(own, 1)
        await user.confirm(send)
        await advance(own, 1)
        await close(own)
        await advance(own, 1)
        doomed = await user.receive("1.00", "doomed")
        await advance(own, HOUR)
        got = await shop.until(5)
    told = [(one.json["type"].removeprefix("oidc.transaction."), one.json["data"]["id"]) for one in got]
    assert told == [
        ("created", send["id"]),
        ("pendingSettlement", send["id"]),
        ("completed", send["id"]),
        ("created", doomed["id"]),
        ("failed", doomed["id"]),
    ]
    assert all(one.is_signed_by(own.info["airtm_webhook_secret"]) for one in got)
    assert "twoFactorCode" not in got[0].json["data"]
    only = [{"url": shop.url, "types": ["oidc.transaction.failed"]}]
    assert (await own.sim("/airtm/webhooks", {"endpoints": only}))["endpoints"][0]["types"] == only[0]["types"]


async def test_a_webhook_may_come_before_the_change_can_be_read(own: Sandbox) -> None:
    async with receiving() as shop:
        await own.sim("/airtm/webhooks", {"endpoints": [{"url": shop.url, "early_seconds": 30}]})
        user = await connected(own, "sam@example.com")
        receive = await user.receive("1.00", "early")
        await advance(own, 1)
        await shop.until(1)
        assert (await user.call("GET", f"/transactions/{receive['id']}")).status == 404
        await advance(own, 30)
        assert await user.status(receive) == "created"


async def test_faults_strike_its_calls_and_are_counted(own: Sandbox) -> None:
    user = await connected(own, "tom@example.com")
    fault = {"face": "airtm_connect", "kind": "error_after", "method": "POST", "route": "/transactions$", "times": 1}
    await own.sim("/faults", fault)
    quote = await user.quote("receive", amountToSend="5.00")
    body = {"quoteId": quote["id"], "scope": "wallet:receive", "partnerReference": "lost"}
    lost = await user.call("POST", "/transactions", body, **{"idempotency-key": "lost"})
    again = await user.call("POST", "/transactions", body, **{"idempotency-key": "lost"})
    assert (lost.status, again.status) == (500, 200)
    assert again.body == await user.get("/transactions/by-reference/lost")
    (counted,) = (await own.sim("/faults"))["faults"]
    assert (counted["seen"], counted["fired"]) == (1, 1)

    async def with_fault(text: str) -> Answer:
        return await user.call("GET", "/balance", **{"x-sandbox-fault": text})

    assert refusal(await with_fault("rate_limit;status=503")) == (503, "415124")
    assert refusal(await with_fault("unauthorized")) == (401, "invalid_token")
    assert refusal(await with_fault("unauthorized;status=403")) == (403, "insufficient_scope")
    assert (await with_fault("set_field;field=balance;value=1.00")).body["balance"] == "1.00"
    # The enterprise's own interface goes on beside it.
    assert (await enterprise(own, "POST", "/payins", payin_of("beside"))).status == 200


async def test_a_reset_of_the_network_empties_wallets_and_fails_what_was_open(own: Sandbox) -> None:
    user = await connected(own, "uma@example.com", give="5.00")
    receive = await user.receive("1.00", "reset")
    await own.sim("/faults", {"face": "chain", "kind": "reset"})
    assert (await user.status(receive), await user.balance()) == ("failed", "0.00")
    await close(own)
    await own.sim("/airtm/connect/wallets", {"email": user.email, "give": "3.00"})
    assert await user.balance() == "3.00"


async def test_everything_survives_a_restart_and_what_was_under_way_goes_on(tmp_path: Path) -> None:
    kept = options(state_file=tmp_path / "sandbox.state")
    async with running(kept) as before:
        user = await connected(before, "vic@example.com", give="30.00")
        wallet = await before.wallet()
        sent = await user.send("10.00", wallet.public_key)
        await user.confirm(sent)
        asked = await user.send("5.00", wallet.public_key)
        code = await user.code(asked)
        receive = await user.receive("2.00", "over")
        quote = await user.quote("send", amountToSend="10.00")
        await pay(before, receive["deposit"], amount="1.00")
        await before.sim("/airtm/connect/wallets", {"email": user.email, "kyc": "pending_review"})
        unsettled = await user.send("1.00", wallet.public_key)
        await user.confirm(unsettled)
        assert await user.status(unsettled) == "pending_settlement"
    async with running(kept) as after:
        user.sandbox = after
        assert (await user.status(sent), await user.balance()) == ("completed", "14.00")
        assert await user.status(unsettled) in {"pending_settlement", "completed"}
        await close(after)
        assert await user.status(unsettled) == "completed"
        assert await after.usdc_of(wallet.public_key) == "11.0000000", "nothing is paid twice"
        assert await code_of(after, asked["id"]) == code
        assert (await user.confirm(asked, code)).status == 200
        await pay(after, receive["deposit"])
        assert (await user.status(receive), await user.balance()) == ("completed", "16.00")
        assert (await user.quote("send", amountToSend="10.00"))["id"] == quote["id"]
        assert (await user.get("/kyc"))["status"] == "pending_review"
        assert [one["reason"] for one in (await after.sim("/airtm/connect/strays"))["strays"]] == ["wrong_amount"]
        refreshed = {"grant_type": "refresh_token", "refresh_token": user.tokens["refresh_token"]}
        assert (await token(after, refreshed)).status == 200
        body = {"quoteId": quote["id"], "scope": "wallet:receive", "partnerReference": "over"}
        assert (await user.call("POST", "/transactions", body)).status in {400, 409}


async def test_the_same_seed_and_requests_give_the_same_ids_tokens_and_codes() -> None:
    async def life() -> list[Any]:
        async with running(options()) as sandbox:
            user = await connected(sandbox, "wes@example.com", give="30.00")
            send = await user.send("10.00", sandbox.info["airtm_connect_account"])
            code = await user.code(send)
            confirmed = (await user.confirm(send)).body
            receive = await user.receive("2.00", "same")
            tokens = {name: value for name, value in user.tokens.items() if name != "id_token"}
            return [tokens, send, code, confirmed, receive]

    assert await life() == await life()


async def test_the_client_may_be_told_other_addresses_to_go_back_to(own: Sandbox) -> None:
    path, elsewhere = f"{BASE}/oidc/authorize", "http://127.0.0.1:9/back"
    assert (await own.call("GET", path, params=query(redirect_uri=elsewhere))).status == 400
    await own.sim("/airtm/connect/client", {"redirect_uris": [elsewhere]})
    assert (await own.call("GET", path, params=query(redirect_uri=elsewhere))).status == 200
