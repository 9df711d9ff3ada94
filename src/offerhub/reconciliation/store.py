"""All SQL of reconciliation."""

from typing import Final

from offerhub.errors import invalid_field
from offerhub.kernel.ids import new_id
from offerhub.kernel.pages import LIMIT_DEFAULT, LIMIT_MAX, Page, page
from offerhub.reconciliation.model import Outcome, Run, RunsQuery
from offerhub.runtime.database import Row, Tx

_COLUMNS: Final = """id, job, trigger, status, requested_by, checked, changed, discrepancies, errors, failure,
    created_at, started_at, ended_at"""


def _run(row: Row) -> Run:
    return Run(
        row["id"],
        row["job"],
        row["trigger"],
        row["status"],
        row["requested_by"],
        Outcome(row["checked"], row["changed"], row["discrepancies"], row["errors"]),
        row["failure"],
        row["created_at"],
        row["started_at"],
        row["ended_at"],
    )


async def abandon(tx: Tx, job: str, queued_seconds_max: float, but: str | None = None) -> int:
    """Give up the job's open run if its process is gone, or if nobody took it in time; `but` names one to leave."""
    return await tx.execute(
        """
        UPDATE reconciliation_runs SET status = 'ABANDONED', ended_at = clock_timestamp()
        WHERE job = $1 AND id IS DISTINCT FROM $3 AND (
            (status = 'RUNNING' AND lease_until < clock_timestamp())
            OR (status = 'QUEUED' AND created_at < clock_timestamp() - make_interval(secs => $2)))
        """,
        job,
        queued_seconds_max,
        but,
    )


async def enqueue(tx: Tx, job: str, requested_by: str) -> Run | None:
    """A new run that waits for a worker; None when one of this job is open."""
    row = await tx.row(
        f"""
        INSERT INTO reconciliation_runs (id, job, trigger, status, requested_by)
        VALUES ($1, $2, 'manual', 'QUEUED', $3) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
        """,
        new_id("run"),
        job,
        requested_by,
    )
    return None if row is None else _run(row)


async def open_run(tx: Tx, job: str) -> Run | None:
    """The job's run that is queued or running."""
    row = await tx.row(
        f"SELECT {_COLUMNS} FROM reconciliation_runs WHERE job = $1 AND status IN ('QUEUED', 'RUNNING')", job
    )
    return None if row is None else _run(row)


async def begin_scheduled(tx: Tx, job: str, lease_seconds: float) -> str | None:
    """A new run that runs now; None when one of this job is open."""
    found: str | None = await tx.value(
        """
        INSERT INTO reconciliation_runs (id, job, trigger, status, started_at, lease_until)
        VALUES ($1, $2, 'schedule', 'RUNNING', clock_timestamp(), clock_timestamp() + make_interval(secs => $3))
        ON CONFLICT DO NOTHING RETURNING id
        """,
        new_id("run"),
        job,
        lease_seconds,
    )
    return found


async def begin_requested(tx: Tx, run_id: str, lease_seconds: float) -> str | None:
    """Run what was asked for, now or again; None when it has ended for good, or another run of its job is open.

    The queue gives a job to one worker at a time: whoever ran it before has died, or failed.
    """
    found: str | None = await tx.value(
        """
        UPDATE reconciliation_runs r SET status = 'RUNNING', failure = NULL, ended_at = NULL,
            started_at = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => $2)
        WHERE id = $1 AND status IN ('QUEUED', 'RUNNING', 'FAILED') AND NOT EXISTS (
            SELECT FROM reconciliation_runs o
            WHERE o.job = r.job AND o.id <> r.id AND o.status IN ('QUEUED', 'RUNNING'))
        RETURNING id
        """,
        run_id,
        lease_seconds,
    )
    return found


async def renew(tx: Tx, run_id: str, lease_seconds: float) -> None:
    """The run's process is alive."""
    await tx.execute(
        """
        UPDATE reconciliation_runs SET lease_until = clock_timestamp() + make_interval(secs => $2)
        WHERE id = $1 AND status = 'RUNNING'
        """,
        run_id,
        lease_seconds,
    )


async def succeed(tx: Tx, run_id: str, outcome: Outcome) -> None:
    """The run has come to its end."""
    await tx.execute(
        """
        UPDATE reconciliation_runs SET status = 'SUCCEEDED', ended_at = clock_timestamp(),
            checked = $2, changed = $3, discrepancies = $4, errors = $5
        WHERE id = $1 AND status = 'RUNNING'
        """,
        run_id,
        outcome.checked,
        outcome.changed,
        outcome.discrepancies,
        outcome.errors,
    )


async def fail(tx: Tx, run_id: str, failure: str) -> None:
    """The run broke."""
    await tx.execute(
        """
        UPDATE reconciliation_runs SET status = 'FAILED', ended_at = clock_timestamp(), failure = $2
        WHERE id = $1 AND status = 'RUNNING'
        """,
        run_id,
        failure,
    )


async def list_runs(tx: Tx, query: RunsQuery) -> Page:
    """One page of runs, ready for the wire. Raises ValidationFailed for a limit below 1 or an unknown cursor."""
    limit = LIMIT_DEFAULT if query.limit is None else min(query.limit, LIMIT_MAX)
    if limit < 1:
        raise invalid_field("limit", "limit must be at least 1")
    known = "SELECT FROM reconciliation_runs WHERE id = $1"
    if query.cursor is not None and await tx.row(known, query.cursor) is None:
        raise invalid_field("cursor", "cursor must be the nextCursor of an earlier page")
    rows = await tx.rows(
        f"""
        SELECT {_COLUMNS} FROM reconciliation_runs
        WHERE ($1::text IS NULL OR job = $1) AND ($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
        """,
        query.job,
        query.status,
        query.cursor,
        limit + 1,
    )
    found = page(rows, limit)
    return Page([_run(row).wire() for row in found.items], found.next_cursor)


async def latest(tx: Tx) -> dict[str, Run]:
    """Job to its latest run."""
    rows = await tx.rows(f"SELECT DISTINCT ON (job) {_COLUMNS} FROM reconciliation_runs ORDER BY job, id DESC")
    return {row["job"]: _run(row) for row in rows}


async def purge(tx: Tx, kept_seconds: float, limit: int) -> int:
    """Delete a batch of runs that ended long ago; returns how many."""
    return await tx.execute(
        """
        DELETE FROM reconciliation_runs WHERE id IN (
            SELECT id FROM reconciliation_runs WHERE ended_at < clock_timestamp() - make_interval(secs => $1)
            ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
        """,
        kept_seconds,
        limit,
    )
