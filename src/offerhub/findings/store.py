"""All SQL of findings."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from offerhub.errors import invalid_field
from offerhub.findings.model import Finding, FindingsQuery, Found
from offerhub.findings.states import FINDING
from offerhub.kernel.ids import new_id
from offerhub.kernel.pages import LIMIT_DEFAULT, LIMIT_MAX, Page, page
from offerhub.runtime.database import Row, Tx

_COLUMNS: Final = """id, marketplace_id, kind, subject_type, subject_id, status, amount, evidence, times_seen,
    first_seen_at, last_seen_at,
    extract(epoch FROM coalesce(resolved_at, clock_timestamp()) - first_seen_at)::bigint AS age_seconds,
    acknowledged_at, acknowledged_by, note, resolved_at, resolved_by, resolution"""


def _finding(row: Row) -> Finding:
    return Finding(**dict(row))


class Seen(NamedTuple):
    """A finding that was seen; `is_news` when it is new, or open again after a person had seen to it."""

    id: str
    is_news: bool


async def see(tx: Tx, found: Found, evidence: Mapping[str, Any]) -> Seen:
    """Keep what differs. What a person has acknowledged is open again once the amount is another one."""
    row = await tx.one(
        """
        INSERT INTO findings (id, marketplace_id, kind, subject_type, subject_id, amount, evidence)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (kind, subject_id) WHERE status <> 'RESOLVED' DO UPDATE SET
            last_seen_at = statement_timestamp(), times_seen = findings.times_seen + 1,
            amount = excluded.amount, evidence = excluded.evidence,
            status = CASE WHEN findings.amount IS DISTINCT FROM excluded.amount THEN 'OPEN' ELSE findings.status END,
            opened_at = CASE
                WHEN findings.status = 'ACKNOWLEDGED' AND findings.amount IS DISTINCT FROM excluded.amount
                THEN statement_timestamp() ELSE findings.opened_at END
        RETURNING id, opened_at = last_seen_at AS is_news
        """,
        new_id("fnd"),
        found.marketplace_id,
        found.kind,
        found.subject_type,
        found.subject_id,
        found.amount,
        dict(evidence),
    )
    return Seen(row["id"], row["is_news"])


async def resolve_seen(
    tx: Tx, kinds: Sequence[str], subject_id: str, resolved_by: str, resolution: Mapping[str, Any]
) -> list[Finding]:
    """Resolve what is not resolved yet of these kinds about a subject; returns what was."""
    rows = await tx.rows(
        f"""
        UPDATE findings SET status = 'RESOLVED', resolved_at = clock_timestamp(), resolved_by = $3, resolution = $4
        WHERE kind = ANY($1::text[]) AND subject_id = $2 AND status <> 'RESOLVED' RETURNING {_COLUMNS}
        """,
        list(kinds),
        subject_id,
        resolved_by,
        dict(resolution),
    )
    return [_finding(row) for row in rows]


async def unresolved(tx: Tx, kinds: Sequence[str], limit: int) -> list[Finding]:
    """What is not resolved yet of these kinds, the one seen longest ago first."""
    rows = await tx.rows(
        f"""
        SELECT {_COLUMNS} FROM findings WHERE status IN ('OPEN', 'ACKNOWLEDGED') AND kind = ANY($1::text[])
        ORDER BY last_seen_at LIMIT $2
        """,
        list(kinds),
        limit,
    )
    return [_finding(row) for row in rows]


async def get(tx: Tx, finding_id: str, *, for_update: bool = False) -> Finding | None:
    """One finding."""
    lock = " FOR UPDATE" if for_update else ""
    row = await tx.row(f"SELECT {_COLUMNS} FROM findings WHERE id = $1{lock}", finding_id)
    return None if row is None else _finding(row)


async def acknowledge(tx: Tx, finding_id: str, by: str, note: str) -> Finding | None:
    """A person looks at it; None when it is in no state that allows this."""
    row = await tx.row(
        f"""
        UPDATE findings SET status = 'ACKNOWLEDGED', acknowledged_at = clock_timestamp(), acknowledged_by = $2,
            note = $3
        WHERE id = $1 AND status = ANY($4::text[]) RETURNING {_COLUMNS}
        """,
        finding_id,
        by,
        note,
        [*FINDING.sources_of("ACKNOWLEDGED"), "ACKNOWLEDGED"],
    )
    return None if row is None else _finding(row)


async def decide(tx: Tx, finding_id: str, by: str, reason: str) -> Finding | None:
    """A person has decided; None when it is resolved already."""
    row = await tx.row(
        f"""
        UPDATE findings SET status = 'RESOLVED', resolved_at = clock_timestamp(), resolved_by = $2,
            resolution = jsonb_build_object('reason', $3::text)
        WHERE id = $1 AND status = ANY($4::text[]) RETURNING {_COLUMNS}
        """,
        finding_id,
        by,
        reason,
        FINDING.sources_of("RESOLVED"),
    )
    return None if row is None else _finding(row)


async def list_findings(tx: Tx, query: FindingsQuery) -> Page:
    """One page of findings. Raises ValidationFailed for a limit below 1 or an unknown cursor."""
    limit = LIMIT_DEFAULT if query.limit is None else min(query.limit, LIMIT_MAX)
    if limit < 1:
        raise invalid_field("limit", "limit must be at least 1")
    if query.cursor is not None and await get(tx, query.cursor) is None:
        raise invalid_field("cursor", "cursor must be the nextCursor of an earlier page")
    rows = await tx.rows(
        f"""
        SELECT {_COLUMNS} FROM findings
        WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR kind = $2)
            AND ($3::text IS NULL OR subject_type = $3) AND ($4::text IS NULL OR subject_id = $4)
            AND ($5::text IS NULL OR marketplace_id = $5) AND ($6::text IS NULL OR id < $6)
        ORDER BY id DESC LIMIT $7
        """,
        query.status,
        query.kind,
        query.subjectType,
        query.subjectId,
        query.marketplaceId,
        query.cursor,
        limit + 1,
    )
    found = page(rows, limit)
    return Page([_finding(row) for row in found.items], found.next_cursor)


async def unresolved_by_kind(tx: Tx) -> list[Row]:
    """How many findings are not resolved, by kind and status (kind, status, findings)."""
    return await tx.rows(
        "SELECT kind, status, count(*) AS findings FROM findings WHERE status <> 'RESOLVED' GROUP BY kind, status"
    )
