"""Faults on the wire, and the death of the sandbox itself."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sandbox_driver import PASSPHRASE, Sandbox, running
from stellar_sdk import Payment

from offerhub.sandbox.append_log import ForeignLog
from offerhub.sandbox.options import SandboxOptions
from offerhub.sandbox.server import serve
from offerhub.sandbox.state import Account, ConservationError, State
from support.outside import PATIENCE_SECONDS


async def inject(sandbox: Sandbox, **fault: Any) -> None:
    await sandbox.sim("/faults", {"face": "horizon", "route": "/transactions", "times": 1, **fault})


async def fired(sandbox: Sandbox) -> list[int]:
    counts = [fault["fired"] for fault in (await sandbox.sim("/faults"))["faults"]]
    await sandbox.call("DELETE", "/_sim/faults")
    return counts


async def test_a_lost_response_has_done_its_work(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    envelope = await sandbox.build(payer, Payment(payee.public_key, sandbox.usdc, "1"))
    await inject(sandbox, kind="lose_response", method="POST")
    with pytest.raises(aiohttp.ClientConnectionError):
        await sandbox.submit(envelope)
    assert await sandbox.usdc_of(payee.public_key) == "1.0000000"
    assert (await sandbox.submit(envelope)).body["successful"] is True
    assert await sandbox.usdc_of(payee.public_key) == "1.0000000"
    assert await fired(sandbox) == [1]


@pytest.mark.parametrize(
    ("fault", "status", "paid"),
    [
        ({"kind": "error_before"}, 502, "0.0000000"),
        ({"kind": "error_after"}, 500, "1.0000000"),
        ({"kind": "rate_limit"}, 429, "0.0000000"),
        ({"kind": "error_before", "status": 503}, 503, "0.0000000"),
        ({"kind": "delay", "seconds": 0.01}, 200, "1.0000000"),
    ],
)
async def test_errors_before_and_after(sandbox: Sandbox, fault: dict[str, Any], status: int, paid: str) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    envelope = await sandbox.build(payer, Payment(payee.public_key, sandbox.usdc, "1"))
    await inject(sandbox, **fault)
    assert (await sandbox.submit(envelope)).status == status
    assert await sandbox.usdc_of(payee.public_key) == paid
    assert await fired(sandbox) == [1]
    assert (await sandbox.submit(envelope)).body["successful"] is True


async def test_a_fault_keeps_to_its_face_and_route(sandbox: Sandbox) -> None:
    await inject(sandbox, face="trustless_work", route="/helper/", kind="error_before", times=None)
    assert (await sandbox.call("GET", "/horizon/ledgers")).status == 200
    assert (await sandbox.trustless("/deployer/single-release", {})).status == 400
    assert (await sandbox.read_trustless("/helper/get-escrows-by-signer")).status == 502
    assert (await sandbox.read_trustless("/helper/get-escrows-by-signer")).status == 502
    assert await fired(sandbox) == [2]


async def test_a_fault_that_cannot_be(sandbox: Sandbox) -> None:
    await sandbox.sim("/faults", {"face": "horizon", "route": "(", "kind": "delay"}, status=400)
    await sandbox.sim("/faults", {"face": "horizon", "route": "/", "kind": "explode"}, status=400)


async def test_outside_wallets_pay(sandbox: Sandbox) -> None:
    wallet = await sandbox.sim("/account", {})
    await sandbox.sim("/mint", {"address": wallet["public_key"], "amount": "3"})
    payee = await sandbox.wallet()
    body = {
        "secret": wallet["secret"],
        "destination": payee.public_key,
        "amount": "2.5",
        "memo": "for you",
    }
    paid = await sandbox.sim("/pay", body)
    assert (await sandbox.get(f"/transactions/{paid['hash']}"))["memo"] == "for you"
    assert await sandbox.usdc_of(payee.public_key) == "2.5000000"
    assert await sandbox.sim("/pay", body, status=400) == {"error": "op_underfunded"}
    for amount in ("0", "-1", "1e3", "1.00000001"):
        await sandbox.sim("/pay", body | {"amount": amount}, status=400)


async def test_the_clock_can_be_set(manual: Sandbox) -> None:
    before = (await manual.sim("/info"))["latest_ledger"]
    await manual.sim("/close", {})
    assert (await manual.sim("/info"))["latest_ledger"] == before + 1
    await manual.sim("/clock", {"ledger_seconds": 0.01})
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await manual.sim("/info"))["latest_ledger"] < before + 4:
            pass


def options_for(path: Path, **changes: Any) -> SandboxOptions:
    return SandboxOptions(ledger_seconds=0, network_passphrase=PASSPHRASE, seed=11, state_file=path, **changes)


async def test_a_restart_remembers_everything(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    async with running(options_for(path)) as first:
        payer = await first.wallet("10")
        before = await first.get(f"/accounts/{payer.public_key}")
        history = await first.records(f"/accounts/{payer.public_key}/payments")
        latest = (await first.sim("/info"))["latest_ledger"]
    # A kill in the middle of a write leaves half a line.
    with path.open("a") as file:
        file.write('{"ledger":99,"envel')
    async with running(options_for(path)) as second:
        after = await second.get(f"/accounts/{payer.public_key}")
        assert (after["sequence"], after["balances"][1]) == (before["sequence"], before["balances"][1])
        assert await second.usdc_of(payer.public_key) == "10.0000000"
        again = await second.records(f"/accounts/{payer.public_key}/payments")
        assert [record["id"] for record in again] == [record["id"] for record in history]
        assert (await second.sim("/info"))["latest_ledger"] > latest
        await second.sim("/mint", {"address": payer.public_key, "amount": "1"})
        another = await second.wallet()
        assert another.public_key != payer.public_key


async def test_somebody_elses_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    path.write_text(json.dumps({"format": 1, "seed": 12, "network_passphrase": PASSPHRASE}) + "\n")
    with pytest.raises(ForeignLog, match="another sandbox"):
        async with running(options_for(path)):
            pass


async def launched(path: Path) -> tuple[asyncio.subprocess.Process, str]:
    arguments = ["-m", "offerhub.sandbox", "--ledger-seconds", "0.02", "--state-file", str(path)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode().split()
    assert line[:2] == ["sandbox", "ready"]
    return process, line[2]


async def test_a_stop_sends_home_those_who_wait() -> None:
    async with aiohttp.ClientSession() as http:
        async with running(SandboxOptions(ledger_seconds=0, network_passphrase=PASSPHRASE, seed=14)) as quiet:
            payer = await quiet.wallet("1")
            envelope = await quiet.build(payer, Payment(payer.public_key, quiet.usdc, "1"))
            url = quiet.base + "/horizon"
            waiting = asyncio.create_task(submitted(http, url, envelope.to_xdr()))
            stream = await http.get(
                url + "/payments", params={"cursor": "now"}, headers={"accept": "text/event-stream"}
            )
            assert (await stream.content.readuntil(b"\n\n")).endswith(b'"hello"\n\n')
        assert await waiting == 504
        assert (await stream.read()).endswith(b'"byebye"\n\n')


async def submitted(http: aiohttp.ClientSession, url: str, envelope_xdr: str) -> int:
    async with http.post(url + "/transactions", data={"tx": envelope_xdr}) as response:
        return response.status


async def test_the_process_survives_a_kill_and_stops_cleanly(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    process, base = await launched(path)
    async with aiohttp.ClientSession() as http:
        async with http.post(base + "/_sim/account", json={}) as response:
            wallet = (await response.json())["public_key"]
        async with http.post(base + "/_sim/mint", json={"address": wallet, "amount": "7"}) as response:
            assert response.status == 200
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        process, base = await launched(path)
        async with http.get(f"{base}/horizon/accounts/{wallet}") as response:
            assert (await response.json())["balances"][0]["balance"] == "7.0000000"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


def test_money_out_of_nowhere_stops_the_sandbox() -> None:
    state = State()
    state.accounts["G"] = Account("G", 10**18, 0)
    state.check_conservation()
    state.contract_balances["C", "USDC:G"] = 1
    with pytest.raises(ConservationError, match="USDC:G"):
        state.check_conservation()
    state.issued["USDC:G"] = 1
    state.check_conservation()
    state.fee_pool += 1
    with pytest.raises(ConservationError, match="native"):
        state.check_conservation()


async def test_a_running_sandbox_stops_when_its_books_break(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(state: State) -> None:
        raise ConservationError("broken")

    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    options = SandboxOptions(ledger_seconds=0, seed=13)
    serving = asyncio.create_task(serve(options, started=ready.set_result))
    base = await ready
    monkeypatch.setattr(State, "check_conservation", broken)
    async with aiohttp.ClientSession() as http, http.post(base + "/_sim/account", json={}) as response:
        assert response.status == 500
    # Nobody asked it to stop.
    with pytest.raises(ConservationError, match="did not add up"):
        await asyncio.wait_for(serving, PATIENCE_SECONDS)
