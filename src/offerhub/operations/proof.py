"""The proof: every balance derived again from the postings, and every state held against the books.

Reads only, on one consistent snapshot. Each check is one query whose rows are violations, named after the
invariant it shows (reliability I1, I2, …); the books are proven when none returns a row.
"""

import time
from dataclasses import dataclass, field
from typing import Any, Final

from offerhub.kernel.money import format_chain_amount
from offerhub.operations import store
from offerhub.operations.check import Check
from offerhub.operations.checks import CHECKS
from offerhub.runtime.database import Database, Tx

VIOLATIONS_SHOWN_MAX: Final = 50


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

    def wire(self) -> dict[str, Any]:
        """The proof as JSON; amounts with seven decimals."""
        return {
            "holds": self.holds,
            "checks": self.checks,
            "postings": self.postings,
            "seconds": round(self.seconds, 3),
            "totals": {kind: format_chain_amount(total) for kind, total in self.totals.items()},
            "findings": [
                {"invariant": one.check.invariant, "sentence": one.check.sentence, "rows": one.rows}
                for one in self.findings
            ],
        }


async def prove(database: Database) -> Proof:
    """Run every check on one snapshot of the live database; nothing is written or locked."""

    async def run(tx: Tx) -> Proof:
        started = time.perf_counter()
        findings = []
        for check in CHECKS:
            rows = await tx.rows(f"SELECT * FROM ({check.sql}) found LIMIT {VIOLATIONS_SHOWN_MAX}")
            if rows:
                findings.append(
                    Finding(check, [{name: _plain(value) for name, value in row.items()} for row in rows])
                )
        totals = await store.ledger_totals(tx)
        postings = await tx.value("SELECT count(*) FROM ledger.postings")
        seconds = time.perf_counter() - started
        return Proof(len(CHECKS), postings, seconds, {row["kind"]: row["total"] for row in totals}, findings)

    return await database.snapshot(run)


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | str | bool | None) else str(value)
