"""Every fault in the table of the guide: its call is taken from there, it strikes, and it is counted."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from airtm_driver import KEY, call, payin_of
from escrow_driver import fund, on_chain
from fault_scenes import Scene, play, prepared, second_step
from rpc_scenes import play_rpc
from sandbox_driver import PASSPHRASE, Sandbox, running
from webhook_receiver import receiving

from offerhub.sandbox.fault_kinds import KINDS
from offerhub.sandbox.options import SandboxOptions
from support.documented import ROOT

GUIDE = (ROOT / "docs" / "guides" / "sandbox.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (F\d+) \| [^|]+ \| ([^|]+) \|$", GUIDE, re.MULTILINE)
CALLS = [(number, one) for number, cell in ROWS for one in re.findall(r"`([^`]+)`", cell) if "{" in one]
FAULTS = [(number, json.loads(one)) for number, one in CALLS if one.startswith("{")]
CREDITS = [json.loads(one.removeprefix("/_sim/credit ")) for number, one in CALLS if number == "F17"]


def name_of(value: Any) -> str | None:
    return "-".join(str(value[key]) for key in ("face", "kind", "value") if key in value) if value else None


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    options = SandboxOptions(ledger_seconds=0.02, network_passphrase=PASSPHRASE, seed=51)
    async with receiving() as hooks, running(options) as sandbox:
        made = await prepared(sandbox, hooks)
        await sandbox.sim("/airtm/webhooks", {"endpoints": [{"url": hooks.url}]})
        yield made


def test_the_table_is_complete() -> None:
    assert [number for number, _ in ROWS] == [f"F{number}" for number in range(1, 27)]
    assert {fault["kind"] for _, fault in FAULTS} == set(KINDS), "every kind is in the table, and no other"


@pytest.mark.parametrize(
    ("number", "fault"), FAULTS, ids=lambda value: value if isinstance(value, str) else name_of(value)
)
async def test_a_fault_strikes_and_is_counted(scene: Scene, number: str, fault: dict[str, Any]) -> None:
    scene.fault = fault | {"target": target} if (target := target_of(scene, fault)) else fault
    added = await scene.sandbox.sim("/faults", scene.fault)
    if number == "F19":
        await second_step(scene)
    elif fault["face"] == "rpc":
        await play_rpc(scene)
    else:
        await play(scene)
    counted = (await scene.sandbox.sim("/faults"))["faults"]
    assert counted[0]["kind"] == fault["kind"] == added["kind"]
    assert counted[0]["fired"] >= 1, counted


def target_of(scene: Scene, fault: dict[str, Any]) -> str | None:
    return {"<account>": scene.payer.public_key, "<contract>": scene.contract}.get(fault.get("target", ""))


@pytest.mark.parametrize("body", CREDITS, ids=lambda body: body["shape"])
async def test_money_arrives_in_every_shape(scene: Scene, body: dict[str, Any]) -> None:
    sandbox, to = scene.sandbox, [scene.payer.public_key, scene.payee.public_key][: len(body["to"])]
    paid = body | {"to": to}
    if body["shape"] == "impostor":
        assert await sandbox.sim("/credit", paid, status=400) == {"error": "op_no_trust"}
        failed = await sandbox.records(f"/accounts/{to[0]}/payments", include_failed="true", order="desc", limit="1")
        assert (failed[0]["transaction_successful"], failed[0]["asset_code"]) == (False, "USDC")
        return
    transaction = (await sandbox.sim("/credit", paid))["hash"]
    newest = await sandbox.records(f"/transactions/{transaction}/payments", join="transactions")
    match body["shape"]:
        case "payment":
            assert [one["to"] for one in newest] == to
            assert [(one["amount"], one["transaction"]["memo"]) for one in newest] == [("0.0000001", "7")] * 2
        case "call":
            (one,) = newest
            assert [change["to"] for change in one["asset_balance_changes"]] == to
            assert await sandbox.usdc_of(to[1]) == "1.0000000"
        case "path":
            assert (newest[0]["type"], newest[0]["amount"]) == ("path_payment_strict_send", "1.0000000")
        case "muxed":
            assert (newest[0]["to"], newest[0]["to_muxed_id"]) == (to[0], "42")
        case "native":
            assert newest[0]["asset_type"] == "native"
        case "claimable":
            assert newest == []
            await claim(scene)


async def claim(scene: Scene) -> None:
    from stellar_sdk import ClaimClaimableBalance

    sandbox, account = scene.sandbox, scene.payer.public_key
    (held,) = await sandbox.records("/claimable_balances", claimant=account)
    assert held["amount"] == "1.0000000"
    stranger = await sandbox.build(scene.payee, ClaimClaimableBalance(held["id"]))
    refused = await sandbox.submit(stranger)
    assert refused.body["extras"]["result_codes"]["operations"] == ["op_cannot_claim"]
    envelope = await sandbox.build(scene.payer, ClaimClaimableBalance(held["id"]))
    assert (await sandbox.submit(envelope)).status == 200
    assert await sandbox.usdc_of(account) == "11.0000000"
    newest = await sandbox.records(f"/accounts/{account}/operations", order="desc", limit="1")
    assert newest[0]["type"] == "claim_claimable_balance"
    assert (await sandbox.call("GET", f"/horizon/claimable_balances/{held['id']}")).status == 404


async def test_anybody_pays_into_a_contract_and_it_may_be_funded_twice(scene: Scene) -> None:
    (text,) = [one for number, one in CALLS if number == "F20"]
    body = json.loads(text.removeprefix("/_sim/pay "))
    await scene.sandbox.sim("/pay", body | {"secret": scene.payer.secret, "destination": scene.contract})
    assert (await on_chain(scene.sandbox, scene.contract))["balance"] == 100.0000001
    assert (await fund(scene.sandbox, scene.parties, scene.contract, 100)).status == 200
    assert (await on_chain(scene.sandbox, scene.contract))["balance"] == 200.0000001


async def test_a_fault_for_one_call(scene: Scene) -> None:
    sandbox = scene.sandbox

    async def ask(fault: str, path: str = "/airtm/v2/me") -> tuple[int, Any]:
        answer = await sandbox.call("GET", path, headers={"authorization": KEY, "x-sandbox-fault": fault})
        return answer.status, answer.body

    assert (await ask("error_before;status=503"))[0] == 503
    assert (await ask("error_before; status=503"))[0] == 503
    assert (await ask("set_field;field=status;value=odd"))[1]["status"] == "odd"
    assert (await call(sandbox, "GET", "/me")).status == 200
    shown = (await sandbox.sim("/faults"))["faults"]
    assert [(one["kind"], one["by"], one["fired"]) for one in shown] == [
        ("error_before", "header", 2),
        ("set_field", "header", 1),
    ]
    for wrong, words in (
        ("explode", "no fault explode"),
        ("delay;seconds=x", "seconds"),
        ("outcome;value=fee", "does not apply"),
        ("stream_cut", "no fault stream_cut"),
        ("set_field", "field must name"),
    ):
        status, body = await ask(wrong)
        assert (status, words in body["error"]) == (400, True), body
    assert (await ask("delay", "/_sim/info"))[0] == 400


async def test_the_nth_call_now_and_then_and_so_often(scene: Scene) -> None:
    sandbox = scene.sandbox
    await sandbox.sim("/faults", {"face": "airtm", "kind": "error_before", "route": "/me$", "nth": 3, "times": 2})
    assert [(await call(sandbox, "GET", "/me")).status for _ in range(6)] == [200, 200, 502, 502, 200, 200]
    await sandbox.sim(
        "/faults", {"face": "airtm", "kind": "error_before", "route": "/me/balance", "probability": 0.3}
    )
    for _ in range(30):
        await call(sandbox, "GET", "/me/balance")
    first, second = (await sandbox.sim("/faults"))["faults"]
    assert (first["seen"], first["fired"]) == (4, 2)
    assert second["seen"] == 30
    assert 0 < second["fired"] < 30


@pytest.mark.parametrize(
    "fault",
    [
        {"face": "horizon", "kind": "tx_error", "code": "tx_odd"},
        {"face": "horizon", "kind": "submit_timeout"},
        {"face": "airtm", "kind": "outcome", "value": "rich"},
        {"face": "airtm", "kind": "drop"},
        {"face": "trustless_work", "kind": "malicious_build", "value": "love"},
        {"face": "chain", "kind": "archive", "target": "CABC"},
        {"face": "chain", "kind": "freeze_line", "target": "GABC"},
        {"face": "chain", "kind": "full_line", "target": "GABC"},
        {"face": "chain", "kind": "fee_surge", "value": 0},
        {"face": "chain", "kind": "fee_mode", "value": "none"},
        {"face": "airtm", "kind": "delay", "probability": 0},
        {"face": "airtm", "kind": "delay", "speed": 1},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('value')}",
)
async def test_a_fault_that_cannot_be_is_refused_and_not_kept(manual: Sandbox, fault: dict[str, Any]) -> None:
    refused = await manual.sim("/faults", fault, status=400)
    assert refused["error"]
    assert (await manual.sim("/faults"))["faults"] == []


async def test_a_slow_body_ends_with_its_reader(scene: Scene) -> None:
    await scene.sandbox.sim("/faults", {"face": "airtm", "kind": "slow_body", "seconds": 30, "times": 1})
    patience = aiohttp.ClientTimeout(total=0.3)
    with pytest.raises(TimeoutError):
        await scene.sandbox.call(
            "POST", "/airtm/v2/payins", json=payin_of("slow"), headers={"authorization": KEY}, timeout=patience
        )
    assert len((await scene.sandbox.sim("/airtm/payins"))["payins"]) == 1


async def test_what_the_controls_changed_survives_a_restart(tmp_path: Any) -> None:
    path = tmp_path / "state.jsonl"
    options = SandboxOptions(ledger_seconds=0.02, network_passphrase=PASSPHRASE, seed=52, state_file=path)
    async with receiving() as hooks, running(options) as first:
        made = await prepared(first, hooks)
        await first.sim("/faults", {"face": "chain", "kind": "freeze_line", "target": made.payer.public_key})
        await first.sim("/faults", {"face": "chain", "kind": "archive", "target": made.contract})
        await first.sim("/faults", {"face": "chain", "kind": "fee_surge", "value": 3})
        kept = await first.sim("/state")
    async with running(options) as second:
        again = await second.sim("/state")
        assert (again["accounts"], again["contracts"]) == (kept["accounts"], kept["contracts"])
        assert (await second.get("/fee_stats"))["last_ledger_base_fee"] == "300"
        await second.sim("/faults", {"face": "chain", "kind": "reset"})
        early = (await second.sim("/info"))["latest_ledger"]
        wallet = await second.wallet("5")
    async with running(options) as third:
        assert await third.usdc_of(wallet.public_key) == "5.0000000"
        assert (await third.sim("/state"))["contracts"] == []
        assert early < (await third.sim("/info"))["latest_ledger"]
