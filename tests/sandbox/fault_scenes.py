"""One scene for each kind of fault: a call that meets it, and what is seen on the wire."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from airtm_driver import call, made, payin_of, payout_of
from escrow_driver import ACTION, Parties, act, approve, deploy_body, deployed, dispute, fund, release, resolve
from sandbox_driver import PASSPHRASE, Answer, Sandbox
from stellar_sdk import Keypair, Payment, TransactionEnvelope
from webhook_receiver import Receiver

from support.outside import PATIENCE_SECONDS


@dataclass
class Scene:
    """A sandbox with a receiver of webhooks, two wallets and an escrow that is funded."""

    sandbox: Sandbox
    hooks: Receiver
    payer: Keypair
    payee: Keypair
    parties: Parties
    contract: str
    fault: dict[str, Any]

    async def pay(self) -> tuple[Answer, str]:
        """A payment through Horizon: the answer and the transaction's hash."""
        envelope = await self.sandbox.build(self.payer, Payment(self.payee.public_key, self.sandbox.usdc, "1"))
        return await self.sandbox.submit(envelope), envelope.hash_hex()

    async def pay_at_once(self) -> tuple[Answer, TransactionEnvelope]:
        envelope = await self.sandbox.build(self.payer, Payment(self.payee.public_key, self.sandbox.usdc, "1"))
        form = {"tx": envelope.to_xdr()}
        return await self.sandbox.call("POST", "/horizon/transactions_async", data=form), envelope

    async def paid(self) -> bool:
        return await self.sandbox.usdc_of(self.payee.public_key) == "1.0000000"

    async def eventually_paid(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.paid():
                await self.sandbox.sim("/close", {})


async def meet(scene: Scene) -> tuple[Answer | None, Callable[[], Awaitable[bool]]]:
    """A call that the fault is about: its answer (None: the connection broke), and whether its work is done."""
    sandbox, fault = scene.sandbox, scene.fault
    match fault["face"], fault.get("route"):
        case "horizon", "/transactions":
            answer = await or_none(scene.pay())
            return None if answer is None else answer[0], scene.paid
        case "horizon", path if path is not None:
            return await or_none(sandbox.call("GET", "/horizon" + path)), scene.paid
        case "airtm", "/payouts":
            return await or_none(call(sandbox, "POST", "/payouts", payout_of("code"))), known(sandbox, "payouts")
        case "airtm", _:
            return await or_none(call(sandbox, "POST", "/payins", payin_of("code"))), known(sandbox, "payins")

    async def deployed_two() -> bool:
        return len((await sandbox.sim("/state"))["contracts"]) == 2

    body = deploy_body(sandbox, scene.parties, engagementId="ord_2")
    sent = act(sandbox, "/deployer/single-release", body, scene.parties.approver)
    return await or_none(sent), deployed_two


async def or_none(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except aiohttp.ClientConnectionError:
        return None


def known(sandbox: Sandbox, kind: str) -> Callable[[], Awaitable[bool]]:
    async def made_it() -> bool:
        return len((await sandbox.sim(f"/airtm/{kind}"))[kind]) == 1

    return made_it


async def play(scene: Scene) -> None:
    """Meet the fault, and see what it does."""
    kind = scene.fault["kind"]
    if scene.fault["face"] == "webhooks":
        await webhook(scene)
    elif kind.startswith("stream_"):
        await stream(scene)
    elif kind in LEDGER:
        await LEDGER[kind](scene)
    else:
        await wire(scene)


# -- wires ---------------------------------------------------------------------------------------------------------

NOTHING_DONE = {"lose_request", "error_before", "rate_limit", "unauthorized"}


async def wire(scene: Scene) -> None:
    kind, fault, begun = scene.fault["kind"], scene.fault, time.monotonic()
    answer, done = await meet(scene)
    if fault["face"] != "horizon" or fault.get("route") == "/transactions":
        assert await done() is (kind not in NOTHING_DONE)
    if kind in {"lose_response", "lose_request"}:
        assert answer is None
        return
    assert answer is not None
    status = {"error_before": 502, "error_after": 500, "rate_limit": 429, "unauthorized": 401}.get(kind, 200)
    assert answer.status == fault.get("status", status)
    match kind:
        case "error_before" | "error_after" | "html_page":
            assert "<html>" in answer.body
        case "rate_limit":
            assert answer.headers.get("retry-after") == ("2" if "retry_after" in fault else None)
        case "wrong_type":
            assert answer.body["amount"] == "25.5"
        case "drop_field":
            assert "id" not in answer.body
        case "set_field":
            assert answer.body["status"] == "TELEPORTED"
        case "duplicate_items":
            first, second = answer.body["_embedded"]["records"][:2]
            assert first == second
        case "delay" | "slow_response":
            assert time.monotonic() - begun >= fault["seconds"]
        case "slow_body":
            assert answer.body["last_ledger_base_fee"] == "100"
        case "empty_body" | "truncated_json":
            assert answer.body is None


# -- transactions and the ledger -----------------------------------------------------------------------------------


async def tx_error(scene: Scene) -> None:
    if scene.fault["face"] == "trustless_work":
        answer, done = await meet(scene)
        assert answer is not None
        assert (answer.status, "tx_bad_auth" in answer.body["message"], await done()) == (400, True, False)
        return
    answer, _ = await scene.pay()
    assert answer.status == 400
    assert answer.body["extras"]["result_codes"] == {"transaction": scene.fault["code"]}
    assert await scene.paid() is (scene.fault.get("then") == "success")


async def submit_timeout(scene: Scene) -> None:
    answer, transaction = await scene.pay()
    assert (answer.status, answer.body["extras"]["hash"]) == (504, transaction)
    if scene.fault["then"] == "success":
        await scene.eventually_paid()
    else:
        await scene.sandbox.sim("/close", {})
        assert not await scene.paid()


async def try_again_later(scene: Scene) -> None:
    answer, envelope = await scene.pay_at_once()
    assert (answer.status, answer.body) == (503, {"tx_status": "TRY_AGAIN_LATER", "hash": envelope.hash_hex()})
    await scene.sandbox.call("DELETE", "/_sim/faults/1")
    await scene.sandbox.sim("/faults", scene.fault | {"times": 1, "nth": 2})
    again = await scene.sandbox.call("POST", "/horizon/transactions_async", data={"tx": envelope.to_xdr()})
    assert (again.status, again.body["tx_status"]) == (201, "PENDING")
    third = await scene.sandbox.call("POST", "/horizon/transactions_async", data={"tx": envelope.to_xdr()})
    assert third.status == 503 or third.body["tx_status"] == "DUPLICATE"
    await scene.eventually_paid()


async def duplicate_tx(scene: Scene) -> None:
    answer, _ = await scene.pay_at_once()
    assert (answer.status, answer.body["tx_status"]) == (409, "DUPLICATE")
    await scene.eventually_paid()


async def not_found(scene: Scene) -> None:
    answer, transaction = await scene.pay()
    assert answer.status == 200
    statuses = [(await scene.sandbox.call("GET", f"/horizon/transactions/{transaction}")).status for _ in range(4)]
    assert statuses == [404, 404, 404, 200]


async def frozen(scene: Scene) -> None:
    answer, _ = await scene.pay()
    assert answer.body["extras"]["result_codes"]["operations"] == ["op_src_not_authorized"]
    line = (await scene.sandbox.get(f"/accounts/{scene.payer.public_key}"))["balances"][0]
    assert line["is_authorized"] is False
    await scene.sandbox.sim("/faults", scene.fault | {"value": "off"})
    assert (await scene.pay())[0].status == 200


async def full(scene: Scene) -> None:
    body = {"address": scene.payer.public_key, "amount": "1"}
    assert await scene.sandbox.sim("/mint", body, status=400) == {"error": "op_line_full"}
    await scene.sandbox.sim("/faults", scene.fault | {"value": "1000"})
    await scene.sandbox.sim("/mint", body)


async def stall(scene: Scene) -> None:
    before = (await scene.sandbox.sim("/info"))["latest_ledger"]
    await scene.sandbox.sim("/advance", {"seconds": 50})
    assert (await scene.sandbox.sim("/info"))["latest_ledger"] == before
    await scene.sandbox.sim("/advance", {"seconds": 20})
    assert (await scene.sandbox.sim("/info"))["latest_ledger"] > before


async def time_jump(scene: Scene) -> None:
    shown = await scene.sandbox.sim("/clock", {})
    assert shown["now"] >= int(time.time()) + 3600


async def fee_surge(scene: Scene) -> None:
    stats = await scene.sandbox.get("/fee_stats")
    assert stats["last_ledger_base_fee"] == "10000"
    answer, _ = await scene.pay()
    assert answer.body["extras"]["result_codes"] == {"transaction": "tx_insufficient_fee"}
    envelope = await scene.sandbox.build(
        scene.payer, Payment(scene.payee.public_key, scene.sandbox.usdc, "1"), fee=10_000
    )
    assert (await scene.sandbox.submit(envelope)).body["fee_charged"] == "10000"
    (surge,) = (await scene.sandbox.sim("/faults"))["faults"]
    await scene.sandbox.call("DELETE", f"/_sim/faults/{surge['id']}")
    assert (await scene.pay())[0].status == 200
    await scene.sandbox.sim("/faults", scene.fault)


async def reset(scene: Scene) -> None:
    assert (await scene.sandbox.call("GET", f"/horizon/accounts/{scene.payer.public_key}")).status == 404
    assert (await scene.sandbox.sim("/state"))["contracts"] == []
    assert await scene.sandbox.wallet("1")


async def archive(scene: Scene) -> None:
    contract = scene.contract
    body = {"contractId": contract, "milestoneIndex": "0", "approver": scene.parties.approver.public_key}
    built = (await scene.sandbox.trustless(f"{ACTION}/approve-milestone", body)).body["unsignedTransaction"]
    envelope = TransactionEnvelope.from_xdr(built, PASSPHRASE)
    assert envelope.transaction.soroban_data is not None
    assert envelope.transaction.soroban_data.resource_fee.int64 == 600_000
    envelope.transaction.soroban_data.resource_fee.int64 = 120_000
    envelope.sign(scene.parties.approver)
    poor = await scene.sandbox.submit(envelope)
    assert poor.body["extras"]["result_codes"]["operations"] == ["entry_archived"]
    assert (await approve(scene.sandbox, scene.parties, contract, 0)).status == 200
    restored = (await scene.sandbox.sim("/state"))["contracts"][0]
    assert (restored["archived"], restored["approved"]) == (False, [True, False])


async def seller_disputes(scene: Scene) -> None:
    for index in (0, 1):
        await approve(scene.sandbox, scene.parties, scene.contract, index)
    answer = await release(scene.sandbox, scene.parties, scene.contract)
    assert (answer.status, "#16" in answer.body["message"]) == (400, True)


async def fee_mode(scene: Scene) -> None:
    """A third and two thirds cannot be shared out by the older arithmetic; by a newer one they can."""
    parties, contract = scene.parties, scene.contract
    assert (await dispute(scene.sandbox, contract, parties.provider)).status == 200
    parts = [(parties.receiver, 33.3333333), (parties.provider, 66.6666667)]
    refused = await resolve(scene.sandbox, parties, contract, parts)
    assert (refused.status, "underfunded" in refused.body["message"]) == (400, True)
    await scene.sandbox.sim("/faults", scene.fault | {"value": "remainder_to_last"})
    assert (await resolve(scene.sandbox, parties, contract, parts)).status == 200


async def no_contract_id(scene: Scene) -> None:
    answer, done = await meet(scene)
    assert answer is not None
    assert (answer.status, "contractId" in answer.body, await done()) == (200, False, True)


async def index_blind(scene: Scene) -> None:
    read = scene.sandbox.read_trustless
    assert (await read("/helper/get-escrow-by-contract-ids", **{"contractIds[]": scene.contract})).status == 400
    rows = await read("/helper/get-escrows-by-signer", signer=scene.parties.approver.public_key)
    assert (rows.status, rows.body) == (200, [])


async def malicious(scene: Scene) -> None:
    signer = scene.parties.approver.public_key
    await scene.sandbox.sim("/mint", {"address": signer, "amount": "2"})
    body = {"contractId": scene.contract, "signer": signer, "amount": 1}
    path = f"{ACTION}/fund-escrow"
    given = (await scene.sandbox.trustless(path, body)).body["unsignedTransaction"]
    (counted,) = (await scene.sandbox.sim("/faults"))["faults"]
    assert counted["fired"] == 1
    await scene.sandbox.call("DELETE", "/_sim/faults")
    honest = (await scene.sandbox.trustless(path, body)).body["unsignedTransaction"]
    await scene.sandbox.sim("/faults", scene.fault)
    await scene.sandbox.trustless(path, body)
    one, other = (TransactionEnvelope.from_xdr(text, PASSPHRASE).transaction for text in (honest, given))
    calls = [getattr(each.operations[0], "host_function").invoke_contract for each in (one, other)]  # noqa: B009
    match scene.fault["value"]:
        case "fee":
            assert other.fee > 100 * one.fee
        case "operation":
            assert len(other.operations) == 2
        case "destination":
            assert calls[1].function_name.sc_symbol == b"transfer"
        case _:
            assert calls[0].contract_address != calls[1].contract_address
            assert calls[0].function_name == calls[1].function_name


async def history_gone(scene: Scene) -> None:
    answer = await scene.sandbox.call("GET", "/horizon/payments", params={"cursor": "1"})
    assert (answer.status, answer.body["type"].rsplit("/", 1)[1]) == (410, "before_history")


async def outcome(scene: Scene) -> None:
    sandbox, value = scene.sandbox, scene.fault["value"]
    if value == "fee":
        payin = await made(sandbox, "/payins", payin_of("less", 100))
        form = {"action": "pay", "email": "ana@example.com"}
        page = f"/airtm-web/payin/{payin['id']}"
        assert (await sandbox.call("POST", page, data=form, allow_redirects=False)).status == 303
        await sandbox.sim("/advance", {"seconds": 3})
        found = (await call(sandbox, "GET", f"/payins/{payin['id']}")).body
        assert (found["status"], found["amount"], found["netAmount"]) == ("CONFIRMED", 100, 99)
        return
    payout = await made(sandbox, "/payouts", payout_of(value, commit=True))
    await sandbox.sim("/advance", {"seconds": 3})
    after = {"refunded": "COMPLETED", "waiting": "PENDING_USER_ACTION", "odd": "TELEPORTED", "declined": "FAILED"}
    assert (await call(sandbox, "GET", f"/payouts/{payout['id']}")).body["status"] == after[value]
    if value == "refunded":
        await sandbox.sim("/advance", {"seconds": 3})
        newest = (await call(sandbox, "GET", "/deposits")).body["items"][0]
        assert (newest["type"], newest["refundedPayoutId"], newest["amount"]) == ("refunded", payout["id"], 40)
    if value == "waiting":
        await sandbox.sim("/advance", {"seconds": 90 * 86_400})
        assert (await call(sandbox, "GET", f"/payouts/{payout['id']}")).body["status"] == "CANCELED"


async def second_step(scene: Scene) -> None:
    """F19: the first approval goes well, the second does not, its repetition does."""
    answers = [await approve(scene.sandbox, scene.parties, scene.contract, index) for index in (0, 1, 1)]
    assert [answer.status for answer in answers] == [200, 502, 200]


LEDGER: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "tx_error": tx_error,
    "submit_timeout": submit_timeout,
    "try_again_later": try_again_later,
    "duplicate_tx": duplicate_tx,
    "not_found": not_found,
    "freeze_line": frozen,
    "full_line": full,
    "stall": stall,
    "time_jump": time_jump,
    "fee_surge": fee_surge,
    "reset": reset,
    "archive": archive,
    "dispute": seller_disputes,
    "fee_mode": fee_mode,
    "no_contract_id": no_contract_id,
    "index_blind": index_blind,
    "malicious_build": malicious,
    "history_gone": history_gone,
    "outcome": outcome,
}


# -- streams -------------------------------------------------------------------------------------------------------


async def stream(scene: Scene) -> None:
    kind, url = scene.fault["kind"], scene.sandbox.base + "/horizon/payments"
    request = scene.sandbox.http.get(url, params={"limit": "1"}, headers={"accept": "text/event-stream"})
    async with request as answer:
        assert await answer.content.readuntil(b"\n\n") == b'retry: 1000\nevent: open\ndata: "hello"\n\n'
        match kind:
            case "stream_cut":
                with pytest.raises(aiohttp.ClientError):
                    await answer.content.read()
            case "stream_silence":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(answer.content.read(), 0.3)
            case "stream_duplicate":
                frames = (await answer.content.read()).split(b"\n\n")
                assert frames[0].startswith(b"id: ")
                assert frames[0] == frames[1]
            case "stream_byebye":
                assert await answer.content.read() == b'retry: 10\nevent: close\ndata: "byebye"\n\n'
            case "stream_error":
                assert (await answer.content.read()).startswith(b"event: error\n")


# -- webhooks ------------------------------------------------------------------------------------------------------


async def webhook(scene: Scene) -> None:
    sandbox, hooks, kind = scene.sandbox, scene.hooks, scene.fault["kind"]
    secret = sandbox.info["airtm_webhook_secret"]
    payin = await made(sandbox, "/payins", payin_of("one"))
    match kind:
        case "drop" | "delay":
            await sandbox.sim("/advance", {"seconds": 86_400})
            assert hooks.got == []
            await sandbox.sim("/advance", {"seconds": 86_400})
            assert len(hooks.got) == (kind == "delay")
        case "reorder":
            other = await made(sandbox, "/payins", payin_of("two"))
            bodies = [one.json["data"]["id"] for one in await hooks.until(2)]
            assert bodies == [other["id"], payin["id"]]
        case "duplicate":
            first, second = await hooks.until(2)
            assert (first.id, first.body) == (second.id, second.body)
        case "new_id":
            first, second = await hooks.until(2)
            assert first.id != second.id
            assert first.body == second.body
        case "early":
            await hooks.until(1)
            assert (await call(sandbox, "GET", f"/payins/{payin['id']}")).status == 404
        case "bare":
            assert (await hooks.until(1))[0].json == payin
        case "bad_signature":
            assert not (await hooks.until(1))[0].is_signed_by(secret)
        case "both_secrets":
            (received,) = await hooks.until(1)
            assert received.is_signed_by(secret)
            assert len(received.headers["svix-signature"].split()) == 2
        case "old_timestamp" | "future_timestamp":
            (received,) = await hooks.until(1)
            assert received.is_signed_by(secret)
            skew = int(received.headers["svix-timestamp"]) - int(time.time())
            assert abs(skew - (-600 if kind == "old_timestamp" else 600)) < 60


async def prepared(sandbox: Sandbox, hooks: Receiver) -> Scene:
    """The scene before anything goes wrong."""
    payer, payee, *others = await asyncio.gather(sandbox.wallet("10"), *[sandbox.wallet() for _ in range(7)])
    parties = Parties(*others[:6])
    contract = await deployed(sandbox, parties)
    assert (await fund(sandbox, parties, contract, 100)).status == 200
    return Scene(sandbox, hooks, payer, payee, parties, contract, {})
