"""`offerhub demo`: one real run, and everything that must make it fail."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from offerhub.cli.demo import command
from offerhub.cli.demo.client import Client, ConnectionCut, DemoFailed, Pending
from offerhub.cli.demo.report import SHOULD, compare
from offerhub.cli.demo.script import Cast
from offerhub.cli.demo.stage import new_folder, own_environment
from offerhub.kernel.money import format_amount, parse_amount
from offerhub.operations.checks import CHECKS
from offerhub.operations.proof import Finding, Proof
from offerhub.providers.trustless_work.fees import release_net, resolve_nets

DEMO = [sys.executable, "-c", "from offerhub.cli.main import main; main()", "demo", "--fast"]
STRAY = {"DATABASE_URL": "postgresql://stray.invalid/x", "STELLAR_NETWORK": "mainnet", "PLATFORM_FEE_PERCENT": "50"}


def demo_environment(data_dir: Path) -> dict[str, str]:
    """A user's shell that is set up for something else."""
    return {**os.environ, **STRAY, "OFFERHUB_DATA_DIR": str(data_dir), "COLUMNS": "100"}


def test_a_real_run_survives_the_crash_and_is_proven(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RATE_LIMIT_MAX=1\nPORT=1\n", encoding="utf-8")
    done = subprocess.run(
        DEMO, cwd=tmp_path, env=demo_environment(data_dir), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "SIGKILL" in done.stdout
    assert "the order stands at RELEASE_REQUESTED" in done.stdout
    assert "order CLOSED, RELEASED" in done.stdout
    assert "one payout on the chain, 79.7600000 to the seller" in done.stdout
    assert "189.8800000" in done.stdout
    assert "\nproven: " in done.stdout
    assert "✗" not in done.stdout
    assert list(data_dir.iterdir()) == []


def test_an_interrupt_stops_everything(data_dir: Path, tmp_path: Path) -> None:
    child = subprocess.Popen(
        DEMO, cwd=tmp_path, env=demo_environment(data_dir), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with child:
        assert child.stdout is not None
        started = next(line for line in child.stdout if "the service at http" in line)
        child.send_signal(signal.SIGINT)
        # To the end: a pipe closed under it would be what stops it, not the signal.
        child.stdout.read()
    assert child.returncode == 130
    port = int(started.split("http://127.0.0.1:")[1].split()[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert list(data_dir.iterdir()) == []
    with pytest.raises(ProcessLookupError):  # nobody is left in its session
        os.killpg(child.pid, 0)


# -- what is compared in the end -------------------------------------------------------------------------------------


def facts() -> dict[str, Any]:
    """What a good run finds."""
    cast = Cast("key", "usr_b", "usr_s", {"usr_b": "GBUYER", "usr_s": "GSELLER"}, "GOUTSIDE", ["CONE"])
    accounts = {"GBUYER": "189.8800000", "GSELLER": "67.1700000", "GOUTSIDE": "42.5000000", "GFEE": "0.4500000"}
    return {
        "cast": cast,
        "balances": {
            "usr_b": {"available": "189.88", "reserved": "0.00", "total": "189.88"},
            "usr_s": {"available": "67.17", "reserved": "0.00", "total": "67.17"},
        },
        "wallets": {"usr_b": "189.8800000", "usr_s": "67.1700000"},
        "chain": {
            "accounts": [{"address": one, "usdc": usdc} for one, usdc in accounts.items()]
            + [{"address": "GFRIENDBOT", "usdc": None}],
            "contracts": [{"address": "CONE", "usdc": "0.0000000"}],
            "usdc_issued": "300.0000000",
        },
        "fee_account": "GFEE",
        "proof": Proof(
            len(CHECKS),
            28,
            0.1,
            {"available": 2_570_500_000, "fees:trustless_work": 4_500_000, "world:stellar": -2_575_000_000},
        ),
    }


def test_a_good_run_agrees() -> None:
    report = compare(**facts())
    assert report.disagreements() == []
    command.conclude(report)


def _chain_account(found: dict[str, Any], address: str, usdc: str) -> None:
    next(one for one in found["chain"]["accounts"] if one["address"] == address)["usdc"] = usdc


def _seller_paid_twice(found: dict[str, Any]) -> None:
    found["balances"]["usr_s"] |= {"available": "146.93", "total": "146.93"}
    found["proof"].totals["available"] += 797_600_000


def _reserve_forgotten(found: dict[str, Any]) -> None:
    found["balances"]["usr_b"] |= {"available": "169.88", "reserved": "20.00"}


def _wallet_a_unit_short(found: dict[str, Any]) -> None:
    found["wallets"]["usr_b"] = "189.8799999"
    _chain_account(found, "GBUYER", "189.8799999")


def _withdrawn_twice(found: dict[str, Any]) -> None:
    _chain_account(found, "GOUTSIDE", "85.0000000")


def _fee_not_booked(found: dict[str, Any]) -> None:
    found["proof"].totals["fees:trustless_work"] -= 1


def _money_left_in_a_contract(found: dict[str, Any]) -> None:
    found["chain"]["contracts"][0]["usdc"] = "0.0000001"


def _not_proven(found: dict[str, Any]) -> None:
    found["proof"].findings.append(Finding(CHECKS[0], [{"asset": "USD", "sum": 1}]))


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (_seller_paid_twice, "seller"),
        (_seller_paid_twice, "owed to users"),
        (_reserve_forgotten, "buyer"),
        (_wallet_a_unit_short, "buyer"),
        (_wallet_a_unit_short, "owed to users"),
        (_withdrawn_twice, "outside"),
        (_withdrawn_twice, "deposits less withdrawals"),
        (_fee_not_booked, "fees paid"),
        (_fee_not_booked, "-world:stellar - fees:*"),
        (_money_left_in_a_contract, "1 escrow contracts"),
        (_not_proven, "the proof of the books"),
    ],
)
def test_every_disagreement_is_named(tamper: Any, named: str) -> None:
    found = facts()
    tamper(found)
    report = compare(**found)
    assert any(one.startswith(named) for one in report.disagreements())
    with pytest.raises(DemoFailed, match=r"do not agree"):
        command.conclude(report)


def test_a_disagreement_is_marked_in_the_table() -> None:
    found = facts()
    _withdrawn_twice(found)
    console = Console(width=100, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    with console.file:
        compare(**found).show(console)
    marked = [line for line in console.export_text().splitlines() if "✗" in line]
    assert [line.split()[1] for line in marked] == ["outside", "all", "deposits"]


def test_what_each_must_have_follows_from_the_fees() -> None:
    released, refunded = release_net(parse_amount("80.00"), 0), resolve_nets(parse_amount("20.00"), 0, [200_000_000])
    split = resolve_nets(parse_amount("50.00"), 0, [300_000_000, 200_000_000])
    buyer = parse_amount("150.00") + split.nets[1] + refunded.nets[0]
    seller = released.net + split.nets[0] - parse_amount("42.50")
    fees = released.trustless_work + split.trustless_work + refunded.trustless_work
    worked_out = {"buyer": buyer, "seller": seller, "outside": parse_amount("42.50"), "fees": fees, "contracts": 0}
    assert {name: format_amount(units) for name, units in worked_out.items()} == SHOULD


# -- how it fails ----------------------------------------------------------------------------------------------------


@pytest.fixture
def same_signals() -> Iterator[None]:
    """The command takes SIGTERM over; here it must be given back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("same_signals")
def test_a_failure_exits_with_1_and_keeps_the_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = facts()
    _not_proven(found)

    def perform(*_: Any, **__: Any) -> None:
        command.conclude(compare(**found))

    monkeypatch.setattr(command, "_perform", perform)
    monkeypatch.setenv("OFFERHUB_DATA_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        command.demo()
    assert ended.value.code == 1
    kept = next(tmp_path.iterdir())
    shown = capsys.readouterr().out
    assert "The demo failed" in shown
    assert str(kept) in shown


def test_runs_have_folders_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text("the developer's", encoding="utf-8")
    first, second = new_folder(tmp_path), new_folder(tmp_path)
    assert first != second
    assert {path.name for path in tmp_path.iterdir()} == {"master.key", first.name, second.name}


def test_the_service_inherits_nothing_that_configures_it() -> None:
    assert own_environment({**STRAY, "PATH": "/bin", "OFFERHUB_API_KEY": "x", "http_proxy": "y"}) == {"PATH": "/bin"}


def test_a_cut_connection_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(f"http://127.0.0.1:{server.getsockname()[1]}/api")
        request = Pending(client, "/orders", "a-key")
        connection, _ = server.accept()
        assert b"idempotency-key: a-key" in connection.recv(65_536).lower()
        assert not request.is_over
        connection.close()
        assert request.reply() is None
    with pytest.raises(ConnectionCut):
        client.get("/orders")


def test_a_refusal_is_told_in_the_services_words() -> None:
    answer = b'{"error":{"code":"ORDER_NOT_FOUND"}}'
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(f"http://127.0.0.1:{server.getsockname()[1]}")
        request = Pending(client, "/orders/x/reserve", "a-key")
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            head = f"HTTP/1.1 404 Not Found\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
            connection.sendall(head + answer)
            reply = request.reply()
    assert reply is not None
    assert (reply.status, reply.error_code, reply.replayed) == (404, "ORDER_NOT_FOUND", False)
    with pytest.raises(DemoFailed, match="ORDER_NOT_FOUND"):
        Client._accepted("POST", "/orders/x/reserve", reply)
