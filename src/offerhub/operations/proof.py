"""The proof: every balance derived again from the postings, and every state held against the books.

Reads only, on one consistent snapshot, over as many connections as are allowed. Each check is one query whose rows
are violations, named after the invariant it shows (reliability I1, I2, …); the books are proven when none returns a
row.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from offerhub.kernel.money import format_chain_amount
from offerhub.operations import store
from offerhub.operations.check import Check
from offerhub.operations.checks import CHECKS
from offerhub.runtime.database import Database, Tx

VIOLATIONS_SHOWN_MAX: Final = 50
CHECK_SECONDS_MAX: Final = 3600.0
"""How long one check may take: on large books longer than any statement of a request."""
SORTED_IN_MEMORY: Final = "64MB"
PACE_POSTINGS_MIN: Final = 10_000
"""With fewer postings the time goes into asking, and says nothing of larger books."""

Progress = Callable[[int, Check | None], None]
"""Told how many checks are done, and which one begins."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A check with the rows that violate it, at most VIOLATIONS_SHOWN_MAX of them."""

    check: Check
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Proof:
    """What was looked at, and what was found. `totals` is account kind to sum in units."""

    checks: int
    postings: int
    seconds: float
    totals: dict[str, int]
    findings: list[Finding] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """True when no check found anything."""
        return not self.findings

    @property
    def seconds_per_million(self) -> float | None:
        """How long the proof takes for a million postings; None where there are too few to tell."""
        return self.seconds * 1_000_000 / self.postings if self.postings >= PACE_POSTINGS_MIN else None

    def wire(self) -> dict[str, Any]:
        """The proof as JSON; amounts with seven decimals."""
        pace = self.seconds_per_million
        return {
            "holds": self.holds,
            "checks": self.checks,
            "postings": self.postings,
            "seconds": round(self.seconds, 3),
            "secondsPerMillionPostings": None if pace is None else round(pace, 3),
            "totals": {kind: format_chain_amount(total) for kind, total in self.totals.items()},
            "findings": [
                {"invariant": one.check.invariant, "sentence": one.check.sentence, "rows": one.rows}
                for one in self.findings
            ],
        }


async def prove(database: Database, *, connections: int = 1, progress: Progress = lambda done, check: None) -> Proof:
    """Run every check on one snapshot of the live database; nothing is written or locked.

    With more `connections` the checks run beside one another, all on the same snapshot.
    """

    async def run(tx: Tx) -> Proof:
        started = time.perf_counter()
        await prepare(tx)
        round_of = _Round(progress)
        try:
            async with asyncio.TaskGroup() as group:
                if connections > 1:
                    name = str(await tx.value("SELECT pg_export_snapshot()"))
                    for _ in range(connections - 1):
                        group.create_task(database.snapshot(round_of.help, of=name))
                await round_of.work(tx)
                totals = await store.ledger_totals(tx, CHECK_SECONDS_MAX)
                postings = await store.count_postings(tx, CHECK_SECONDS_MAX)
        except BaseExceptionGroup as failed:
            # What went wrong first; the rest was cancelled for it.
            raise failed.exceptions[0] from None
        seconds = time.perf_counter() - started
        return Proof(len(CHECKS), postings, seconds, {row["kind"]: row["total"] for row in totals}, round_of.findings)

    return await database.snapshot(run)


async def prepare(tx: Tx) -> None:
    """Make a transaction ready for queries over whole tables, whatever limits the server has for requests."""
    await tx.execute("SET LOCAL statement_timeout = 0")
    await tx.execute(f"SET LOCAL work_mem = '{SORTED_IN_MEMORY}'")
    # Compiling takes longer than most of these queries run.
    await tx.execute("SET LOCAL jit = off")
    # Whole tables are joined: one row after the other is never the way, whatever the statistics say.
    await tx.execute("SET LOCAL enable_nestloop = off")


async def look(tx: Tx) -> list[Finding]:
    """Run every check in a transaction that is open, and see what it sees."""
    looked = _Round(lambda done, check: None)
    await looked.work(tx)
    return looked.findings


class _Round:
    """The checks that are left, for whoever comes next."""

    def __init__(self, progress: Progress) -> None:
        self._left = list(reversed(CHECKS))
        self._done = 0
        self._progress = progress
        self._found: dict[Check, Finding] = {}

    @property
    def findings(self) -> list[Finding]:
        """What was found, in the order of the checks."""
        return [self._found[check] for check in CHECKS if check in self._found]

    async def help(self, tx: Tx) -> None:
        """Work on a connection beside the first."""
        await prepare(tx)
        await self.work(tx)

    async def work(self, tx: Tx) -> None:
        """Take one check after the other until none is left."""
        while self._left:
            check = self._left.pop()
            self._progress(self._done, check)
            # Materialised: a limit would be taken as leave to look for the first rows one by one.
            sql = f"WITH found AS MATERIALIZED ({check.sql}) SELECT * FROM found LIMIT {VIOLATIONS_SHOWN_MAX}"
            rows = await tx.rows(sql, seconds=CHECK_SECONDS_MAX)
            if rows:
                plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
                self._found[check] = Finding(check, plain)
            self._done += 1
            self._progress(self._done, None)


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | str | bool | None) else str(value)
