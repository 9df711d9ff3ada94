"""`offerhub sandbox …` against a sandbox that runs: what it does there, what it prints, how it ends."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest

from offerhub.cli.development import sandbox_info, sandbox_process
from offerhub.cli.main import main


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sandbox_process(ledger_seconds=0, airtm_settle_seconds=0) as environ:
        yield environ["OFFERHUB_SANDBOX_URL"]


def offerhub(url: str, *words: str) -> tuple[int, str, str]:
    """Its exit status, and what it printed to whom. In this process: there are many of them."""
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(errors):
        patch.setattr(sys, "argv", ["offerhub", "sandbox", *words])
        patch.setenv("OFFERHUB_SANDBOX_URL", url)
        patch.setenv("COLUMNS", "200")
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        else:
            code = 0
    assert isinstance(code, int | None)
    return code or 0, out.getvalue(), errors.getvalue()


def printed(url: str, *words: str) -> Any:
    """The JSON that it prints."""
    code, out, errors = offerhub(url, *words, "--json")
    assert (code, errors) == (0, ""), errors
    return json.loads(out)


def test_money_arrives_and_is_shown(url: str) -> None:
    wallet = printed(url, "account")["public_key"]
    printed(url, "mint", wallet, "25.5", "--memo", "hello")
    printed(url, "pay", wallet, "1")
    printed(url, "credit", "call", "0.25", wallet, wallet)
    state = printed(url, "state")
    assert {one["address"]: one["usdc"] for one in state["accounts"]}[wallet] == "27.0000000"
    code, out, _ = offerhub(url, "state")
    assert (code, wallet in out, "usdc_issued" in out) == (0, True, True)


def test_what_the_sandbox_refuses_ends_with_1_and_its_words(url: str) -> None:
    code, out, errors = offerhub(url, "mint", "GABC", "1")
    assert (code, out, errors) == (1, "", "offerhub: not an address: GABC\n")
    assert offerhub(url, "advance", "soon")[0] == 1
    assert offerhub(url, "credit", "path", "1")[0] == 1
    assert "no fault explode" in offerhub(url, "fault", "add", "airtm", "explode")[2]
    assert offerhub(url, "fault", "clear", "4711")[0] == 1
    assert offerhub(url, "payin", "confirm")[0] == 1
    assert "none with the id or code nothing" in offerhub(url, "payout", "complete", "nothing")[2]
    assert offerhub(url, "webhooks", "replay", "msg_none")[0] == 1
    assert "this machine only" in offerhub(url, "webhooks", "set", "https://shop.example/")[2]


def test_without_a_sandbox_it_says_so_and_ends_with_2(url: str) -> None:
    for elsewhere in ("http://127.0.0.1:1", "nonsense", "http://127.0.0.1:x"):
        code, out, errors = offerhub(url, "state", "--url", elsewhere)
        assert (code, out) == (2, "")
        assert "start one with `offerhub sandbox`" in " ".join(errors.split())
        assert "Traceback" not in errors


def test_time_passes(url: str) -> None:
    before = sandbox_info(url)["now"]
    assert printed(url, "advance", "2h")["now"] >= before + 7200
    shown = printed(url, "clock", "scaled", "--factor", "2", "--ledger-seconds", "0")
    assert (shown["mode"], shown["factor"]) == ("scaled", 2.0)
    assert printed(url, "clock", "real")["mode"] == "real"
    latest = printed(url, "info")["latest_ledger"]
    assert printed(url, "close")["ledger"] == latest + 1


def test_faults_come_are_counted_and_go(url: str) -> None:
    added = printed(
        url, "fault", "add", "horizon", "rate_limit", "--times", "1", "--retry-after", "3", "--route", "/fee"
    )
    (listed,) = printed(url, "fault", "list")
    assert listed == added | {"fired": 0}
    surge = printed(url, "fault", "add", "chain", "fee_surge", "--value", "100")
    assert (surge["value"], surge["fired"]) == (100, 1)
    code, out, _ = offerhub(url, "fault", "list")
    assert (code, "rate_limit" in out, "fee_surge" in out) == (0, True, True)
    assert printed(url, "fault", "clear", str(added["id"]))["id"] == added["id"]
    printed(url, "fault", "clear")
    assert printed(url, "fault", "list") == []
    kinds = {one["kind"] for one in printed(url, "fault", "kinds", "webhooks")}
    assert {"drop", "bad_signature", "delay"} <= kinds
    assert "lose_response" not in kinds


def test_payins_payouts_and_their_webhooks(url: str) -> None:
    printed(url, "webhooks", "set", "http://127.0.0.1:1/hook", "--event", "payin.created", "--bare")
    (endpoint,) = printed(url, "webhooks", "endpoints")
    assert (endpoint["types"], endpoint["bare"]) == (["payin.created"], True)
    assert len(printed(url, "webhooks", "secret", "rotate")[0]["secrets"]) == 2
    assert len(printed(url, "webhooks", "secret", "retire")[0]["secrets"]) == 1
    info = sandbox_info(url)
    airtm(info, "/payins", {"code": "cli-1", "amount": 5, "description": "Top-up", "items": [ITEM], **URIS})
    confirmed = printed(url, "payin", "confirm", "cli-1", "--fee", "0.25")
    assert (confirmed["status"], confirmed["netAmount"]) == ("CONFIRMED", 4.75)
    assert [one["code"] for one in printed(url, "payin", "list", "cli-1")] == ["cli-1"]
    airtm(info, "/payouts", {"code": "cli-2", "airtmUserEmail": "a@example.com", "amount": 7, "notes": "n"})
    assert printed(url, "payout", "cancel", "cli-2")["status"] == "CANCELED"
    assert "cli-2" in offerhub(url, "payout")[1]
    assert printed(url, "balance")["available"] == 1_000_004.75
    printed(url, "advance", "5s")
    attempts = printed(url, "webhooks", "list", "--attempts")
    assert [one["attempt"] for one in attempts] == [1, 2]
    (message,) = printed(url, "webhooks", "list")
    assert printed(url, "webhooks", "replay", message["id"])["attempts"] == 0
    assert printed(url, "webhooks", "recover") == {"replayed": 0}
    assert printed(url, "webhooks", "enable")[0]["disabled"] is False
    printed(url, "webhooks", "set")
    assert printed(url, "webhooks", "endpoints") == []


ITEM = {"description": "Top-up", "amount": 5, "quantity": 1}
URIS = {"confirmationUri": "https://shop.example/done", "cancelUri": "https://shop.example/cancelled"}


def airtm(info: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    """Ask Airtm as an enterprise does."""
    credentials = f"{info['airtm_api_key']}:{info['airtm_api_secret']}"
    command = [sys.executable, "-c", _POST, info["airtm_url"] + path, credentials, json.dumps(body)]
    subprocess.run(command, check=True, timeout=60)


_POST = """
import base64, sys, urllib.request
url, credentials, body = sys.argv[1:]
headers = {"authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
direct.open(urllib.request.Request(url, body.encode(), headers), timeout=10).close()
"""


def test_every_command_has_help(url: str) -> None:
    groups: dict[str, list[str]] = {
        "": ["account", "advance", "balance", "clock", "close", "credit", "info", "mint", "pay", "payin", "payout"],
        "fault": ["add", "clear", "kinds", "list"],
        "webhooks": ["enable", "endpoints", "list", "recover", "replay", "secret", "set"],
    }
    for group, commands in groups.items():
        words = [group] if group else []
        code, out, _ = offerhub(url, *words, "--help")
        assert code == 0
        for command in commands:
            assert any(line.strip("│ ").startswith(f"{command} ") for line in out.splitlines()), (group, command)


def test_it_runs_where_and_how_it_is_told() -> None:
    code = "from offerhub.cli.main import main; main()"
    words = ["sandbox", "--port", "0", "--clock", "stepped", "--start-at", "2026-01-01T00:00:00", "--seed", "5"]
    words += ["--webhook-url", "http://127.0.0.1:1/a", "--webhook-url", "http://127.0.0.1:1/b"]
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            address = child.stdout.readline().removeprefix("sandbox ready ").strip()
            info = sandbox_info(address)
            assert (info["mode"], info["now"], info["seed"]) == ("stepped", 1_767_225_600, 5)
            assert [one["url"][-1] for one in printed(address, "webhooks", "endpoints")] == ["a", "b"]
        finally:
            child.terminate()
    assert child.returncode == 0


def test_it_does_not_send_webhooks_into_the_world() -> None:
    code, _, errors = offerhub("", "--port", "0", "--webhook-url", "https://shop.example/hook")
    assert (code, "this machine only" in errors) == (2, True)
