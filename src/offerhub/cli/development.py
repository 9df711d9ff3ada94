"""`offerhub dev`: the service together with the stand-ins for its providers, and how those are started."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from offerhub.cli.environment import environment, run, services, settings_of
from offerhub.cli.serve import serve_with
from offerhub.providers.stellar.network import TESTNET_PASSPHRASE
from offerhub.settings.catalogue import OFFERHUB_DATA_DIR, OFFERHUB_MASTER_KEY
from offerhub.settings.sources import DEVELOPMENT_KEY_FILE
from offerhub.settings.variable import Reader

READY: Final = "sandbox ready "
STOP_SECONDS: Final = 10


@contextlib.contextmanager
def sandbox_process(
    *,
    ledger_seconds: float,
    airtm_settle_seconds: float = 2.0,
    state_file: Path | None = None,
    port: int = 0,
    log_file: Path | None = None,
    webhook_urls: Sequence[str] = (),
) -> Iterator[dict[str, str]]:
    """Run the sandbox as a child process; yields the environment that points a service at it.

    A service that is to use Airtm is told so by PAYMENT_PROVIDER; everything else for it is there.
    Raises RuntimeError when it does not start.
    """
    command = [sys.executable, "-m", "offerhub.sandbox", "--port", str(port)]
    command += ["--ledger-seconds", str(ledger_seconds), "--network-passphrase", TESTNET_PASSPHRASE]
    command += ["--airtm-settle-seconds", str(airtm_settle_seconds)]
    for url in webhook_urls:
        command += ["--webhook-url", url]
    if state_file is not None:
        state_file.parent.mkdir(parents=True, exist_ok=True)
        command += ["--state-file", str(state_file)]
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(log_file.open("wb")) if log_file is not None else None
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        stack.callback(_stop, child)
        assert child.stdout is not None
        base_url = next((line for line in child.stdout if line.startswith(READY)), "").removeprefix(READY).strip()
        if not base_url:
            raise RuntimeError("the sandbox did not start")
        yield sandbox_environment(base_url)


def _stop(child: "subprocess.Popen[str]") -> None:
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def sandbox_info(base_url: str) -> dict[str, Any]:
    """What a running sandbox says of itself."""
    # Not through a proxy: the sandbox listens on this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{base_url}/_sim/info", timeout=10) as answer:
        info: dict[str, Any] = json.load(answer)
        return info


def sandbox_environment(base_url: str) -> dict[str, str]:
    """The variables that point a service at a running sandbox."""
    return {"OFFERHUB_SANDBOX_URL": base_url, **pointing_at(sandbox_info(base_url))}


def pointing_at(info: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a service that lives in the sandbox which tells this of itself."""
    return {
        "STELLAR_NETWORK": "testnet",
        "STELLAR_NETWORK_PASSPHRASE": info["network_passphrase"],
        "STELLAR_HORIZON_URL": info["horizon_url"],
        "STELLAR_RPC_URL": info["rpc_url"],
        "STELLAR_FRIENDBOT_URL": f"{info['horizon_url']}/friendbot",
        "STELLAR_USDC_ASSET_CODE": info["usdc"]["code"],
        "STELLAR_USDC_ISSUER": info["usdc"]["issuer"],
        "TRUSTLESS_API_URL": info["trustless_work_url"],
        "TRUSTLESS_API_KEY": info["trustless_api_key"],
        "TRUSTLESS_REQUESTS_PER_MINUTE": "0",
        "AIRTM_API_URL": info["airtm_url"],
        "AIRTM_CHECKOUT_URL": info["airtm_checkout_url"],
        "AIRTM_API_KEY": info["airtm_api_key"],
        "AIRTM_API_SECRET": info["airtm_api_secret"],
        "AIRTM_WEBHOOK_SECRET": info["airtm_webhook_secret"],
        "AIRTM_REQUESTS_PER_SECOND": "0",
    }


def dev(*, port: int = 4000, sandbox_port: int = 4010, ledger_seconds: float = 1.0) -> None:
    """Run the service together with a sandbox: everything a marketplace needs to integrate, offline.

    Users pay in and out on Stellar, or through Airtm with PAYMENT_PROVIDER=airtm. Data is kept in the data folder
    (`OFFERHUB_DATA_DIR`, default `.offerhub`) between runs.

    Parameters
    ----------
    port
        Where the service listens.
    sandbox_port
        Where the sandbox listens.
    ledger_seconds
        Seconds between two ledgers of the sandbox.
    """
    given = environment(PORT=str(port), RATE_LIMIT_MAX="0", PAYMENT_PROVIDER="crypto")
    data_dir = Reader(given).get(OFFERHUB_DATA_DIR)
    state_file = data_dir / "sandbox.log"
    told = [f"http://127.0.0.1:{port}/api/v1/webhooks/airtm"]
    with sandbox_process(
        ledger_seconds=ledger_seconds, state_file=state_file, port=sandbox_port, webhook_urls=told
    ) as pointed:
        settings = settings_of(given | pointed)
        print(f"sandbox at {pointed['OFFERHUB_SANDBOX_URL']}", flush=True)
        if not Reader(given).raw(OFFERHUB_MASTER_KEY):
            print(f"master key in {data_dir / DEVELOPMENT_KEY_FILE}", flush=True)
        with services(settings) as running:
            run(serve_with(running))
