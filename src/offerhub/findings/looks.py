"""Looks at places where money is: a difference between books and outside is a finding at the second look in a row.

One look may fall between a movement and its booking. Two that were both taken when nothing was under way, and that
show money missing twice or too much twice, may not. A look never moves money or a state. A difference that a person
has resolved is known from then on: whatever differs from it is news.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from offerhub.findings import look_store as store
from offerhub.findings.model import Found
from offerhub.findings.service import raise_finding, resolve_findings
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_chain_amount
from offerhub.runtime.database import Tx

EXACT: Final = (0, 0)
AGREES: Final = "AGREES"
DIFFERS: Final = "DIFFERS"
UNKNOWN: Final = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Compared:
    """The books of a place beside what is there, in units.

    `explained` are the least and the most by which `outside` may differ from `books` because of what is under way;
    None when that cannot be told. `evidence` is JSON for people.
    """

    marketplace_id: str
    kind: str
    subject_type: str
    subject_id: str
    books: int
    outside: int
    explained: tuple[int, int] | None = EXACT
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def difference(self) -> int:
        """Units that are there beyond the books; negative when some are missing."""
        return self.outside - self.books

    def verdict(self, known: int) -> str:
        """AGREES, DIFFERS, or UNKNOWN when what is under way may explain the difference beside the `known` one."""
        if self.explained is None:
            return UNKNOWN
        news = self.difference - known
        if news == 0:
            return AGREES
        least, most = self.explained
        return UNKNOWN if least <= news <= most else DIFFERS


async def look(tx: Tx, compared: Compared, part: str = "reconciliation") -> bool:
    """Note a look. True when it has confirmed a difference, and that is news.

    Amounts that agree end the finding. A look that shows nothing leaves it, and a difference after that is a first
    one.
    """
    known = await store.known(tx, compared.kind, compared.subject_id)
    before = await store.last(tx, compared.kind, compared.subject_id)
    verdict = compared.verdict(known)
    is_again = (
        before is not None
        and before.verdict == DIFFERS == verdict
        and (before.outside - before.books > known) == (compared.difference > known)
    )
    now = store.Noted(compared.kind, compared.subject_id, verdict, compared.books, compared.outside)
    seen_at = await store.note(tx, now, is_first=verdict == DIFFERS and not is_again)
    evidence = {**_shown(compared.books, compared.outside), **compared.evidence, "lookedAt": to_wire(seen_at)}
    if known:
        evidence["knownDifference"] = format_chain_amount(known)
    if verdict == AGREES:
        await resolve_findings(tx, [compared.kind], compared.subject_id, evidence, part)
    if not is_again:
        return False
    assert before is not None
    evidence["lookBefore"] = {**_shown(before.books, before.outside), "lookedAt": to_wire(before.looked_at)}
    found = Found(
        compared.marketplace_id,
        compared.kind,
        compared.subject_type,
        compared.subject_id,
        evidence,
        compared.difference,
    )
    return await raise_finding(tx, found, part)


def _shown(books: int, outside: int) -> dict[str, Any]:
    return {
        "inBooks": format_chain_amount(books),
        "there": format_chain_amount(outside),
        "difference": format_chain_amount(outside - books),
    }
