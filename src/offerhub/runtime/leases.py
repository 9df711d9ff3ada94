"""Leases: a singleton runs in one process at a time, and another takes over when that one dies (design 9).

A lease is a row with an end. Time is the database's alone: clocks of the machines are only used to measure how
long ago a statement was sent, so that a holder always gives up before the database would let another in. Each
time the lease is taken its token grows by one. A process that was frozen and wakes up late may still run a few
instructions; writes that must not happen then call `LeaseToken.fence(tx)` first, inside their transaction.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from offerhub.runtime.cancellation import end, heed_cancellation
from offerhub.runtime.database import UNREACHABLE, Database, Tx

log = structlog.stdlib.get_logger(__name__)

LEASE_SECONDS: Final = 8.0
POLL_SECONDS_MAX: Final = 1.0
"""How long a released lease may lie idle; a waiting replica asks this often."""
POLL_SECONDS_MIN: Final = 0.02
REST_SECONDS: Final = 1.0
"""The pause after work that returned or failed, so that a defect cannot spin."""

# Reading comes first so that waiting replicas write nothing, not even a row lock.
_TAKE = """
WITH taken AS (
    INSERT INTO leases AS l (name, holder, held_until)
    SELECT $1, $2, clock_timestamp() + make_interval(secs => $3)
    WHERE NOT EXISTS (SELECT FROM leases WHERE name = $1 AND held_until > clock_timestamp())
    ON CONFLICT (name) DO UPDATE
    SET holder = excluded.holder, token = l.token + 1, held_until = clock_timestamp() + make_interval(secs => $3)
    WHERE l.held_until <= clock_timestamp()
    RETURNING token
)
SELECT (SELECT token FROM taken) AS token,
    (SELECT extract(epoch FROM held_until - clock_timestamp())::float8 FROM leases WHERE name = $1) AS seconds_left
"""
_RENEW = """
UPDATE leases SET held_until = clock_timestamp() + make_interval(secs => $3) WHERE name = $1 AND token = $2
"""
_RELEASE = "UPDATE leases SET held_until = clock_timestamp() WHERE name = $1 AND token = $2"
_FENCE = "SELECT FROM leases WHERE name = $1 AND token = $2 FOR SHARE"


class LeaseLost(Exception):
    """Another holder has taken the lease since."""


@dataclass(frozen=True, slots=True)
class LeaseToken:
    """Proof of one term of holding: `number` is larger than that of every term before."""

    name: str
    number: int

    async def fence(self, tx: Tx) -> None:
        """Let this transaction commit only in our term: until it ends nobody else can take the lease.

        Raises LeaseLost when somebody has. It also holds back our own renewal, so keep the transaction short.
        """
        if not await tx.rows(_FENCE, self.name, self.number):
            raise LeaseLost(f"{self.name}, term {self.number}")


class Lease:
    """One named singleton, competed for by any number of replicas; `holder` is only for people to read."""

    def __init__(self, database: Database, name: str, holder: str, seconds: float = LEASE_SECONDS) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._seconds = seconds
        self._log = log.bind(lease=name, holder=holder)

    async def hold(self, work: Callable[[LeaseToken], Awaitable[None]]) -> None:
        """Compete until cancelled; run `work` whenever, and only while, the lease is ours.

        The lease is renewed at a third of its length. When a renewal fails or has no answer at two thirds, `work`
        is cancelled. Work that returns or raises gives the lease back, and we compete again after a short rest.
        Never returns; a failure of the work or of the database is logged, not raised. Cancelling gives the lease
        back as well, unless it comes in the very moment of taking: then the lease ends by itself.
        """
        while True:
            asked_at = _monotonic()
            number, seconds_left = await self._take()
            if number is None:
                heed_cancellation()
                await asyncio.sleep(min(max(seconds_left, POLL_SECONDS_MIN), POLL_SECONDS_MAX))
                continue
            self._log.info("lease.taken", term=number)
            await self._serve(LeaseToken(self._name, number), work, asked_at)
            await asyncio.sleep(min(REST_SECONDS, self._seconds))

    async def _take(self) -> tuple[int | None, float]:
        """Our term's number if the lease could be taken, and otherwise how long it is held for."""
        try:
            row = await self._database.run(lambda tx: tx.one(_TAKE, self._name, self._holder, self._seconds))
        except UNREACHABLE as error:
            self._log.warning("lease.database_unreachable", error=repr(error))
            return None, POLL_SECONDS_MAX
        return row["token"], row["seconds_left"] or 0.0

    async def _serve(self, token: LeaseToken, work: Callable[[LeaseToken], Awaitable[None]], asked_at: float) -> None:
        task = asyncio.ensure_future(work(token))
        try:
            heed_cancellation()
            await self._renew_beside(task, token, asked_at)
        finally:
            # Not before the work has stopped may another holder be let in.
            await end(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._log.error("lease.work_failed", term=token.number, exc_info=error)
            await asyncio.shield(self._release(token))

    async def _renew_beside(self, task: asyncio.Future[None], token: LeaseToken, asked_at: float) -> None:
        """Keep renewing; returns when the work has ended or the lease can no longer be counted on."""
        while True:
            await asyncio.wait({task}, timeout=asked_at + self._seconds / 3 - _monotonic())
            if task.done():
                return
            # A task of its own: a database that hangs must not keep us from giving up in time.
            renewal = asyncio.ensure_future(self._renew(token))
            renewal_asked_at = _monotonic()
            try:
                await asyncio.wait({renewal}, timeout=asked_at + self._seconds * 2 / 3 - renewal_asked_at)
            finally:
                renewed = renewal.done() and renewal.result()
                renewal.cancel()
            if not renewed:
                self._log.warning("lease.lost", term=token.number)
                return
            asked_at = renewal_asked_at

    async def _renew(self, token: LeaseToken) -> bool:
        with contextlib.suppress(*UNREACHABLE):
            return (
                await self._database.run(lambda tx: tx.execute(_RENEW, token.name, token.number, self._seconds)) == 1
            )
        return False

    async def _release(self, token: LeaseToken) -> None:
        """Let another holder in at once. When that cannot be said, the lease ends by itself."""
        try:
            await self._database.run(lambda tx: tx.execute(_RELEASE, token.name, token.number))
        except UNREACHABLE as error:
            self._log.warning("lease.not_released", error=repr(error))


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
