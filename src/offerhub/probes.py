"""What health asks: one probe for each dependency that an installation has."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from offerhub.errors import ProviderError
from offerhub.operations.model import Finding, Probe
from offerhub.runtime.line import Line
from offerhub.runtime.urgency import Urgency, working
from offerhub.treasury.service import TreasuryLow
from offerhub.wallets.deposits import DepositWatcher

if TYPE_CHECKING:
    import redis.asyncio

    from offerhub.app import Product

DEPOSIT_LAG_SECONDS_MAX: Final = 120.0
"""Longer than this without having booked everything, and health says so."""


def probes(made: "Product", client: "redis.asyncio.Redis") -> dict[str, Probe]:
    """By the name that health gives it: how each dependency of a process is asked."""

    async def database() -> None:
        await made.database.run(lambda tx: tx.value("SELECT 1"), read_only=True)

    async def queue() -> None:
        await client.ping()

    async def stellar() -> None:
        await made.horizon.latest_ledger()
        low = await made.platform.shortage()
        if low is not None:
            raise Finding(low)

    async def treasury() -> None:
        try:
            await made.treasury.check_floor()
        except TreasuryLow as error:
            raise Finding(str(error)) from error

    airtm = Probe(None)
    if made.airtm is not None and made.lines.airtm is not None:
        airtm = _provider(made.lines.airtm, made.airtm.reach)
    probes = {
        "database": Probe(database, essential=True),
        "redis": Probe(queue, essential=True),
        "trustlessWork": _provider(made.lines.trustless_work, made.trustless_work.reach),
        "airtm": airtm,
        "stellar": _provider(made.lines.stellar, stellar),
        "deposits": Probe(partial(_deposits, made.deposits)),
    }
    if made.rpc is not None and made.lines.rpc is not None:
        probes["stellarRpc"] = _provider(made.lines.rpc, made.rpc.reach)
    return probes if made.airtm is None else {**probes, "treasury": Probe(treasury)}


def _provider(line: Line, reach: Callable[[], Awaitable[None]]) -> Probe:
    async def check() -> None:
        try:
            with working(Urgency.PROBE):
                await reach()
        except ProviderError as error:
            raise Finding("It refuses our credentials") from error

    return Probe(check, breaker=lambda: line.breaker)


async def _deposits(watcher: DepositWatcher) -> float | None:
    lag = await watcher.lag()
    if lag.gaps:
        raise Finding(f"{lag.gaps} spans of ledgers were missed and are not filled", lag.seconds)
    if lag.seconds is not None and lag.seconds > DEPOSIT_LAG_SECONDS_MAX:
        raise Finding("Deposits are not being booked", lag.seconds)
    return lag.seconds
