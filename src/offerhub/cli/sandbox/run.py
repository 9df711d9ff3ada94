"""`offerhub sandbox`: the process itself."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from offerhub.cli.environment import CommandError


def sandbox(
    *,
    port: int = 4010,
    ledger_seconds: float = 1.0,
    state_file: Path | None = None,
    seed: int = 1,
    clock: Literal["real", "scaled", "stepped"] | None = None,
    clock_factor: float = 1.0,
    start_at: datetime | None = None,
    webhook_url: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    airtm_settle_seconds: float = 2.0,
    airtm_cancel_pending_days: int = 90,
    index_lag_seconds: float = 0.0,
    fee_mode: Literal["floor_total", "floor_each", "remainder_to_last"] = "floor_total",
    rate_limits: Annotated[bool, Parameter(negative="")] = False,
    rpc_retention_ledgers: int = 120_960,
    connect: Annotated[bool, Parameter(negative="")] = False,
    connect_redirect_uri: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    network_passphrase: str | None = None,
) -> None:
    """Run the stand-ins for Stellar, Trustless Work and Airtm on their own, over real HTTP.

    Prints `sandbox ready <address>` once it listens; `GET /_sim/info` there names the addresses and keys to point a
    service at. The other commands control a sandbox that runs.

    Parameters
    ----------
    port
        Where to listen; 0 picks a free port.
    ledger_seconds
        Seconds of the sandbox's clock between two ledgers; 0 closes one on demand only.
    state_file
        Keep everything in this file and its neighbours, so that it survives a restart.
    seed
        Accounts, contracts and ids follow from it.
    clock
        With the machine, so many times faster, or stepped. Left out: as the state file says, or with the machine.
    clock_factor
        How much faster a scaled clock runs.
    start_at
        When a new sandbox begins, such as 2026-01-01T00:00:00 (UTC). Left out: now.
    webhook_url
        Where Airtm's webhooks go, on this machine; may be given several times.
    airtm_settle_seconds
        How long Airtm takes for what was confirmed or committed; 0 settles on demand only.
    airtm_cancel_pending_days
        After how many days Airtm cancels a payout whose recipient does nothing.
    index_lag_seconds
        How far the lists of Trustless Work are behind the chain.
    fee_mode
        The arithmetic of dispute resolutions, as different lines of the contract have it.
    rate_limits
        Limit requests as the real ones do: Trustless Work 50 in a minute, Airtm 10 in a second.
    rpc_retention_ledgers
        How many ledgers Stellar RPC remembers; real nodes keep about a week by default.
    connect
        Have Airtm's Connect as well: OAuth, and users' wallets that send and receive USDC on Stellar.
    connect_redirect_uri
        Where the client of Connect may send a browser back to; may be given several times.
    network_passphrase
        The network's passphrase. Left out: that of a standalone network.
    """
    # Nothing but the parameters is there yet; most have the names of the options.
    _serve(**locals())


def _serve(
    *,
    start_at: datetime | None,
    webhook_url: tuple[str, ...],
    connect_redirect_uri: tuple[str, ...],
    rate_limits: bool,
    network_passphrase: str | None,
    **told: Any,
) -> None:
    from offerhub.sandbox.options import SandboxOptions
    from offerhub.sandbox.server import main
    from offerhub.sandbox.webhook_model import BadEndpoint

    if start_at is not None:
        told["start_at"] = start_at.replace(tzinfo=start_at.tzinfo or UTC).timestamp()
    if network_passphrase is not None:
        told["network_passphrase"] = network_passphrase
    told |= {"webhook_urls": webhook_url, "trustless_rate_limited": rate_limits, "airtm_rate_limited": rate_limits}
    told["connect_redirect_uris"] = connect_redirect_uri
    try:
        main(SandboxOptions(**told))
    except BadEndpoint as error:
        raise CommandError(str(error)) from error
