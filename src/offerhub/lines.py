"""The lines to the providers of one process: one for each, with the limits of the settings (decision 0028)."""

from dataclasses import dataclass, replace
from typing import Final

import redis.asyncio

from offerhub.kernel.clock import Clock
from offerhub.runtime.budget import RequestBudget
from offerhub.runtime.http import HttpClient
from offerhub.runtime.line import Line, LineOptions, LineSnapshot, Observer
from offerhub.settings import Settings

FRIENDBOT_PLACES: Final = 8


@dataclass(frozen=True, slots=True)
class Lines:
    """Every line of this process. Airtm's is None when it is not the rail, and RPC's when there is no RPC."""

    stellar: Line
    rpc: Line | None
    friendbot: Line
    trustless_work: Line
    airtm: Line | None

    def snapshots(self) -> list[LineSnapshot]:
        """The numbers of each line."""
        lines = (self.stellar, self.rpc, self.friendbot, self.trustless_work, self.airtm)
        return [line.snapshot() for line in lines if line is not None]


def lines(
    settings: Settings, http: HttpClient, clock: Clock, client: "redis.asyncio.Redis | None", observe: Observer
) -> Lines:
    """Lay the lines. Without a Redis client each process counts its budgets for itself."""
    common = LineOptions(
        attempts=settings.providers.read_attempts,
        breaker_failures=settings.providers.breaker_failures,
        breaker_seconds=settings.providers.breaker_seconds,
        queue_seconds=settings.providers.queue_seconds,
    )

    def budget(name: str, requests_max: int, window_seconds: float) -> RequestBudget | None:
        if not requests_max:
            return None
        return RequestBudget(
            clock, requests_max=requests_max, window_seconds=window_seconds, client=client, key=f"budget:{name}"
        )

    # Horizon answers a submission with 504 when no ledger has taken it in time: that is the network, not Horizon.
    stellar = replace(common, places=settings.stellar.concurrency, neutral=frozenset({("POST", 504)}))
    trustless, airtm = settings.trustless_work, settings.airtm
    return Lines(
        stellar=Line("stellar", http, clock, stellar, observe=observe),
        rpc=None
        if settings.stellar.rpc_url is None
        else Line("stellar_rpc", http, clock, replace(common, places=settings.stellar.concurrency), observe=observe),
        friendbot=Line("friendbot", http, clock, replace(common, places=FRIENDBOT_PLACES), observe=observe),
        trustless_work=Line(
            "trustless_work",
            http,
            clock,
            replace(common, places=trustless.concurrency),
            budget("trustless_work", trustless.requests_per_minute, 60),
            observe,
        ),
        airtm=None
        if airtm is None
        else Line(
            "airtm",
            http,
            clock,
            replace(common, places=airtm.concurrency),
            budget("airtm", airtm.requests_per_second, 1),
            observe,
        ),
    )
