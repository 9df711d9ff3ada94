"""All SQL of webhook endpoints and their secrets. That of deliveries is in `lines` and `attempts`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from offerhub.kernel.ids import new_id
from offerhub.kernel.pages import Page
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.paging import PageQuery, fetch
from offerhub.runtime.vault import Sealed
from offerhub.webhook_endpoints.model import DisabledReason, Endpoint, Kind

_SELECT: Final = """
SELECT webhook_endpoints.id, webhook_endpoints.marketplace_id, kind, url, description, event_types,
    webhook_endpoints.status, disabled_reason, enabled_at, failing_since, webhook_endpoints.created_at, updated_at
FROM webhook_endpoints JOIN webhook_senders ON endpoint_id = webhook_endpoints.id
"""


def _endpoint(row: Row) -> Endpoint:
    return Endpoint(
        row["id"],
        row["marketplace_id"],
        row["kind"],
        row["url"],
        row["description"],
        tuple(row["event_types"]),
        row["status"],
        row["disabled_reason"],
        row["enabled_at"],
        row["failing_since"],
        row["created_at"],
        row["updated_at"],
    )


async def count(tx: Tx, marketplace_id: str) -> int:
    """How many endpoints the marketplace has; another that is counting waits until this transaction ends."""
    await tx.execute("SELECT FROM marketplaces WHERE id = $1 FOR NO KEY UPDATE", marketplace_id)
    return int(
        await tx.value(
            "SELECT count(*) FROM webhook_endpoints WHERE marketplace_id = $1 AND status <> 'DELETED'", marketplace_id
        )
    )


async def insert(
    tx: Tx, marketplace_id: str, *, kind: Kind, url: str | None, description: str | None, event_types: Sequence[str]
) -> str:
    """A new endpoint; returns its id."""
    endpoint_id = new_id("whe")
    await tx.execute(
        """
        WITH made AS (
            INSERT INTO webhook_endpoints (id, marketplace_id, kind, url, description, event_types)
            VALUES ($1, $2, $3, $4, $5, $6) RETURNING id
        )
        INSERT INTO webhook_senders (endpoint_id, fetched_at)
        SELECT id, CASE WHEN $3 = 'PULL' THEN clock_timestamp() END FROM made
        """,
        endpoint_id,
        marketplace_id,
        kind,
        url,
        description,
        list(event_types),
    )
    return endpoint_id


async def get(tx: Tx, marketplace_id: str, endpoint_id: str) -> Endpoint | None:
    """The marketplace's endpoint, unless it is deleted."""
    row = await tx.row(
        f"{_SELECT} WHERE id = $1 AND marketplace_id = $2 AND status <> 'DELETED'", endpoint_id, marketplace_id
    )
    return None if row is None else _endpoint(row)


async def lock(tx: Tx, marketplace_id: str, endpoint_id: str) -> Endpoint | None:
    """The same, and nobody changes it or its lines of deliveries until the transaction ends."""
    sql = f"{_SELECT} WHERE id = $1 AND marketplace_id = $2 AND status <> 'DELETED' FOR NO KEY UPDATE"
    row = await tx.row(sql, endpoint_id, marketplace_id)
    return None if row is None else _endpoint(row)


async def lock_all(tx: Tx, endpoint_ids: Sequence[str]) -> dict[str, Endpoint]:
    """These endpoints by id, locked in the order of their ids; for whoever serves all marketplaces."""
    rows = await tx.rows(f"{_SELECT} WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE", list(endpoint_ids))
    return {row["id"]: _endpoint(row) for row in rows}


async def taking(tx: Tx, marketplace_ids: Sequence[str]) -> list[Endpoint]:
    """The enabled endpoints of these marketplaces, in the order of their ids."""
    rows = await tx.rows(
        f"{_SELECT} WHERE marketplace_id = ANY($1) AND status = 'ENABLED' ORDER BY id", list(marketplace_ids)
    )
    return [_endpoint(row) for row in rows]


async def page(tx: Tx, marketplace_id: str, query: PageQuery) -> Page:
    """One page of the marketplace's endpoints, newest first. Raises ValidationFailed for an unknown cursor."""
    filters = {"webhook_endpoints.status <> ?": "DELETED"}
    found = await fetch(tx, marketplace_id, _SELECT, "webhook_endpoints", filters, query)
    return Page([_endpoint(row) for row in found.items], found.next_cursor)


async def update(tx: Tx, endpoint_id: str, changes: Mapping[str, Any]) -> None:
    """Change columns of an endpoint that the caller has locked."""
    columns = ", ".join(f"{column} = ${place}" for place, column in enumerate(changes, 2))
    await tx.execute(f"UPDATE webhook_endpoints SET {columns} WHERE id = $1", endpoint_id, *changes.values())


async def disable(tx: Tx, endpoint_id: str, reason: DisabledReason) -> bool:
    """Disable an endpoint; False when it is not enabled."""
    sql = (
        "UPDATE webhook_endpoints SET status = 'DISABLED', disabled_reason = $2 WHERE id = $1 AND status = 'ENABLED'"
    )
    return await tx.execute(sql, endpoint_id, reason) == 1


async def enable(tx: Tx, endpoint_id: str) -> bool:
    """Enable an endpoint, with a clean record; False when it is not disabled."""
    sql = """
    UPDATE webhook_endpoints SET status = 'ENABLED', disabled_reason = NULL, enabled_at = clock_timestamp()
    WHERE id = $1 AND status = 'DISABLED'
    """
    if await tx.execute(sql, endpoint_id) == 0:
        return False
    await tx.execute(
        """
        UPDATE webhook_senders SET failing_since = NULL, warned_at = NULL, failures = 0, resting_until = '-infinity'
        WHERE endpoint_id = $1
        """,
        endpoint_id,
    )
    return True


async def delete(tx: Tx, endpoint_id: str, sources: Sequence[str]) -> None:
    """Delete an endpoint that the caller has locked, and its secrets."""
    await tx.execute(
        "UPDATE webhook_endpoints SET status = 'DELETED', disabled_reason = NULL WHERE id = $1 AND status = ANY($2)",
        endpoint_id,
        list(sources),
    )
    await tx.execute("DELETE FROM webhook_secrets WHERE endpoint_id = $1", endpoint_id)


async def newest_event(tx: Tx, aggregate_type: str, aggregate_id: str) -> tuple[str, int]:
    """Id and sequence of the aggregate's newest event, which must exist."""
    row = await tx.one(
        """
        SELECT id, sequence FROM events WHERE aggregate_type = $1 AND aggregate_id = $2
        ORDER BY sequence DESC LIMIT 1
        """,
        aggregate_type,
        aggregate_id,
    )
    return row["id"], row["sequence"]


async def purge_deleted(tx: Tx, limit: int) -> int:
    """Forget a batch of deleted endpoints of which no delivery is kept any more; returns how many."""
    return await tx.execute(
        """
        DELETE FROM webhook_endpoints WHERE id IN (
            SELECT id FROM webhook_endpoints e
            WHERE status = 'DELETED' AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE endpoint_id = e.id)
            LIMIT $1 FOR UPDATE SKIP LOCKED)
        """,
        limit,
    )


# -- secrets ---------------------------------------------------------------------------------------------------


def _sealed(row: Row) -> Sealed:
    return Sealed(row["key_version"], row["sealed"])


async def next_number(tx: Tx, endpoint_id: str) -> int:
    """The number of the endpoint's next secret; the caller holds its lock."""
    sql = "SELECT coalesce(max(number), 0) + 1 FROM webhook_secrets WHERE endpoint_id = $1"
    return int(await tx.value(sql, endpoint_id))


async def insert_secret(tx: Tx, endpoint_id: str, number: int, sealed: Sealed) -> None:
    """Keep a new secret; from now on it signs."""
    await tx.execute(
        "INSERT INTO webhook_secrets (endpoint_id, number, key_version, sealed) VALUES ($1, $2, $3, $4)",
        endpoint_id,
        number,
        sealed.version,
        sealed.blob,
    )


async def retire_secrets(tx: Tx, endpoint_id: str, newest: int, overlap_seconds: int) -> datetime:
    """Let the secret before the newest end so late, and forget those before it; returns when it ends."""
    await tx.execute("DELETE FROM webhook_secrets WHERE endpoint_id = $1 AND number < $2", endpoint_id, newest - 1)
    row = await tx.one(
        """
        UPDATE webhook_secrets SET expires_at = clock_timestamp() + make_interval(secs => $3)
        WHERE endpoint_id = $1 AND number = $2 RETURNING expires_at
        """,
        endpoint_id,
        newest - 1,
        overlap_seconds,
    )
    ends: datetime = row["expires_at"]
    return ends


async def signing_secrets(tx: Tx, endpoint_id: str) -> list[tuple[int, Sealed]]:
    """The secrets that sign now, the newest first, each with its number."""
    rows = await tx.rows(
        """
        SELECT number, key_version, sealed FROM webhook_secrets
        WHERE endpoint_id = $1 AND (expires_at IS NULL OR expires_at > clock_timestamp()) ORDER BY number DESC
        """,
        endpoint_id,
    )
    return [(row["number"], _sealed(row)) for row in rows]


async def purge_secrets(tx: Tx, limit: int) -> int:
    """Forget a batch of secrets whose time is over; returns how many."""
    return await tx.execute(
        """
        DELETE FROM webhook_secrets WHERE (endpoint_id, number) IN (
            SELECT endpoint_id, number FROM webhook_secrets WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)
        """,
        limit,
    )


async def secrets_by_key_version(tx: Tx) -> dict[int, int]:
    """How many secrets each version of the key seals."""
    rows = await tx.rows("SELECT key_version, count(*) AS n FROM webhook_secrets GROUP BY key_version ORDER BY 1")
    return {row["key_version"]: row["n"] for row in rows}


async def sealed_under_other(
    tx: Tx, version: int, after: tuple[str, int], limit: int
) -> list[tuple[str, int, Sealed]]:
    """The next secrets under another key than this version's, locked: endpoint, number and secret."""
    rows = await tx.rows(
        """
        SELECT endpoint_id, number, key_version, sealed FROM webhook_secrets
        WHERE key_version <> $1 AND (endpoint_id, number) > ($2, $3)
        ORDER BY endpoint_id, number LIMIT $4 FOR UPDATE
        """,
        version,
        *after,
        limit,
    )
    return [(row["endpoint_id"], row["number"], _sealed(row)) for row in rows]


async def replace_secret(tx: Tx, endpoint_id: str, number: int, sealed: Sealed) -> None:
    """Put a secret that was sealed anew in the place of the one that the caller has locked."""
    await tx.execute(
        "UPDATE webhook_secrets SET key_version = $3, sealed = $4 WHERE endpoint_id = $1 AND number = $2",
        endpoint_id,
        number,
        sealed.version,
        sealed.blob,
    )
