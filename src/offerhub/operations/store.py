"""All SQL of operations."""

from typing import Any, Final

from offerhub.operations.model import Maintenance
from offerhub.runtime.database import Row, Tx

_READ: Final = "SELECT message, enabled_at, enabled_by FROM maintenance"


def _maintenance(row: Row) -> Maintenance | None:
    return None if row["enabled_at"] is None else Maintenance(row["message"], row["enabled_at"], row["enabled_by"])


async def maintenance(tx: Tx) -> Maintenance | None:
    """Maintenance as it is, None when it is off."""
    return _maintenance(await tx.one(_READ))


async def lock_maintenance(tx: Tx) -> Maintenance | None:
    """The same, and nobody else switches it until the transaction ends."""
    return _maintenance(await tx.one(f"{_READ} FOR UPDATE"))


async def enable_maintenance(tx: Tx, message: str, enabled_by: str) -> Maintenance:
    """Switch it on; when it is on already, only its message changes."""
    row = await tx.one(
        """
        UPDATE maintenance SET message = $1, enabled_at = coalesce(enabled_at, clock_timestamp()),
            enabled_by = coalesce(enabled_by, $2)
        RETURNING message, enabled_at, enabled_by
        """,
        message,
        enabled_by,
    )
    return Maintenance(row["message"], row["enabled_at"], row["enabled_by"])


async def disable_maintenance(tx: Tx) -> None:
    """Switch it off."""
    await tx.execute("UPDATE maintenance SET message = NULL, enabled_at = NULL, enabled_by = NULL")


WAITING: Final = {
    "outbox_rows": "Jobs that are not done yet, handed over or not; without dead letters.",
    "outbox_oldest_seconds": "How long the job that waits longest has been due without being handed over.",
    "dead_letters": "Jobs that failed for good and wait for a person.",
    "deposits_quarantined": "Records of the network that could not be booked and wait for a person.",
    "deposits_lag_seconds": "How long ago everything that the network showed was booked.",
    "deposit_gaps_open": "Spans of ledgers whose deposits were missed and could not be found elsewhere yet.",
    "audit_entries_waiting": "Audit entries that are not known to be sealed yet.",
}
"""What `waiting_work` counts, with a sentence for each."""


async def running_sagas(tx: Tx) -> list[Row]:
    """Sagas under way by kind: how many (running), the age of the oldest in seconds, steps of unknown outcome."""
    return await tx.rows(
        """
        SELECT s.kind, count(DISTINCT s.id) AS running,
            extract(epoch FROM clock_timestamp() - min(s.created_at))::float8 AS oldest,
            count(*) FILTER (WHERE p.status = 'UNKNOWN') AS unknown
        FROM sagas s LEFT JOIN saga_steps p ON p.saga_id = s.id AND p.status = 'UNKNOWN'
        WHERE s.status = 'RUNNING' GROUP BY s.kind
        """
    )


async def waiting_work(tx: Tx) -> Row:
    """The numbers of WAITING."""
    return await tx.one(
        """
        SELECT (SELECT count(*) FROM outbox WHERE dead_at IS NULL) AS outbox_rows,
            coalesce((SELECT extract(epoch FROM clock_timestamp() - min(due_at)) FROM outbox
                WHERE enqueued_at IS NULL AND dead_at IS NULL AND due_at <= now()), 0)::float8
                AS outbox_oldest_seconds,
            (SELECT count(*) FROM dead_letters) AS dead_letters,
            (SELECT count(*) FROM quarantined_records) AS deposits_quarantined,
            coalesce((SELECT extract(epoch FROM clock_timestamp() - max(caught_up_at)) FROM cursors
                WHERE name LIKE 'deposits:%'), 0)::float8 AS deposits_lag_seconds,
            (SELECT count(*) FROM deposit_gaps WHERE filled_at IS NULL) AS deposit_gaps_open,
            (SELECT coalesce((SELECT max(position) FROM audit_entries), 0) - settled FROM audit_sealing)
                AS audit_entries_waiting
        """
    )


async def key_ages(tx: Tx) -> tuple[float | None, float | None]:
    """Seconds since the wallets' key was replaced or first used, and the age of the oldest valid API key."""
    row = await tx.one(
        """
        SELECT extract(epoch FROM clock_timestamp() - coalesce(
                (SELECT max(occurred_at) FROM audit_entries WHERE action = 'WALLETS_ROTATED' AND resource_id IN (
                    SELECT 'version-' || key_version FROM (SELECT DISTINCT key_version FROM wallets) used)),
                (SELECT min(created_at) FROM wallets)))::float8 AS wallet_key,
            extract(epoch FROM clock_timestamp() - (SELECT min(created_at) FROM api_keys
                WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())))::float8 AS api_key
        """
    )
    return row["wallet_key"], row["api_key"]


async def backup_state(tx: Tx) -> tuple[float | None, bool | None]:
    """Seconds since the last backup, and whether the last file of the write-ahead log could not be archived.

    Before the first backup it is the age of the schema, so that an installation without any is noticed; None where
    the write-ahead log is archived instead. The second is None where it is not.
    """
    row = await tx.one(
        """
        SELECT CASE WHEN made.at IS NOT NULL OR NOT archives.on
                THEN extract(epoch FROM clock_timestamp() - coalesce(made.at, began.at))::float8 END AS age,
            CASE WHEN archives.on
                THEN coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) END AS failing
        FROM pg_stat_archiver,
            (SELECT current_setting('archive_mode') <> 'off' AS on) archives,
            (SELECT min(applied_at) AS at FROM schema_migrations) began
            LEFT JOIN (SELECT occurred_at AS at FROM audit_entries
                WHERE resource_id = 'installation' AND action = 'BACKUP_CREATED'
                ORDER BY id DESC LIMIT 1) made ON true
        """
    )
    return row["age"], row["failing"]


async def ledger_totals(tx: Tx, seconds: float | None = None) -> list[Row]:
    """The sum of all postings (total, in units) by kind of account."""
    return await tx.rows(
        """
        SELECT a.kind, sum(p.amount)::bigint AS total
        FROM ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id GROUP BY a.kind ORDER BY a.kind
        """,
        seconds=seconds,
    )


async def count_postings(tx: Tx, seconds: float) -> int:
    """How many postings there are."""
    return int((await tx.rows("SELECT count(*) FROM ledger.postings", seconds=seconds))[0][0])


async def snapshot_facts(tx: Tx) -> dict[str, Any]:
    """What tells this snapshot from others: its time, its place in the write-ahead log, the schema's version."""
    row = await tx.one(
        """
        SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS "takenAt",
            (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text AS lsn,
            pg_current_snapshot()::text AS snapshot, current_setting('server_version') AS postgresql,
            (SELECT max(version) FROM schema_migrations) AS schema
        """
    )
    return dict(row)
