"""All SQL of wallets; that of deposits is in deposit_store."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from offerhub.kernel.ids import new_id
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.vault import Sealed
from offerhub.wallets.model import Purpose, Wallet

_COLUMNS: Final = "id, marketplace_id, user_id, purpose, public_key, status, type, created_at"


def _wallet(row: Row) -> Wallet:
    return Wallet(
        row["id"],
        row["marketplace_id"],
        row["user_id"],
        row["purpose"],
        row["public_key"],
        row["status"],
        row["type"],
        row["created_at"],
    )


async def insert(
    tx: Tx, marketplace_id: str, user_id: str | None, purpose: Purpose, public_key: str, sealed: Sealed
) -> Wallet | None:
    """Store a new wallet; None when the user, or the system, has one for this purpose already."""
    row = await tx.row(
        f"""
        INSERT INTO wallets (id, marketplace_id, user_id, purpose, public_key, secret_blob, key_version)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
        """,
        new_id("wal"),
        marketplace_id,
        user_id,
        purpose,
        public_key,
        sealed.blob,
        sealed.version,
    )
    return None if row is None else _wallet(row)


async def of_user(tx: Tx, marketplace_id: str, user_id: str) -> Wallet | None:
    """The user's active primary wallet."""
    row = await tx.row(
        f"""
        SELECT {_COLUMNS} FROM wallets
        WHERE marketplace_id = $1 AND user_id = $2 AND is_active AND is_primary
        """,
        marketplace_id,
        user_id,
    )
    return None if row is None else _wallet(row)


async def of_system(tx: Tx, purpose: Purpose) -> Wallet | None:
    """The system's wallet for a purpose."""
    row = await tx.row(
        f"SELECT {_COLUMNS} FROM wallets WHERE purpose = $1 AND is_active",
        purpose,
    )
    return None if row is None else _wallet(row)


async def channels(tx: Tx) -> list[Wallet]:
    """The channel accounts."""
    rows = await tx.rows(
        f"SELECT {_COLUMNS} FROM wallets WHERE purpose = 'channel' AND is_active ORDER BY id",
    )
    return [_wallet(row) for row in rows]


async def lock_system(tx: Tx) -> None:
    """Let one process at a time make wallets of the system's own, until its transaction ends."""
    await tx.execute("SELECT FROM wallets WHERE purpose = 'platform' AND is_active FOR UPDATE")


async def sealed_secrets(tx: Tx, public_keys: Sequence[str]) -> dict[str, Sealed]:
    """Address to sealed secret."""
    rows = await tx.rows(
        "SELECT public_key, secret_blob, key_version FROM wallets WHERE public_key = ANY($1::text[])",
        list(public_keys),
    )
    return {row["public_key"]: Sealed(row["key_version"], row["secret_blob"]) for row in rows}


async def key_versions(tx: Tx) -> list[int]:
    """The versions of the keys that seal wallets, ascending; steps from one to the next in the index."""
    rows = await tx.rows(
        """
        WITH RECURSIVE used AS (
            SELECT min(key_version) AS version FROM wallets
            UNION ALL
            SELECT (SELECT min(key_version) FROM wallets WHERE key_version > used.version)
            FROM used WHERE used.version IS NOT NULL
        )
        SELECT version FROM used WHERE version IS NOT NULL
        """
    )
    return [row["version"] for row in rows]


async def one_of_each_key_version(tx: Tx) -> dict[str, Sealed]:
    """Address to sealed secret, of one wallet under each version of the key."""
    rows = await tx.rows("SELECT DISTINCT ON (key_version) public_key, secret_blob, key_version FROM wallets")
    return {row["public_key"]: Sealed(row["key_version"], row["secret_blob"]) for row in rows}


async def count_by_key_version(tx: Tx) -> dict[int, int]:
    """How many wallets each version of the key seals."""
    rows = await tx.rows("SELECT key_version, count(*) AS n FROM wallets GROUP BY key_version ORDER BY key_version")
    return {row["key_version"]: row["n"] for row in rows}


async def sealed_under(tx: Tx, version: int, after: str, limit: int, *, lock: bool) -> list[tuple[str, str, Sealed]]:
    """The next (id, address, secret) under this version, by id. Locked, those that another holds are passed over."""
    rows = await tx.rows(
        f"""
        SELECT id, public_key, secret_blob, key_version FROM wallets
        WHERE key_version = $1 AND id > $2 ORDER BY id LIMIT $3 {"FOR UPDATE SKIP LOCKED" if lock else ""}
        """,
        version,
        after,
        limit,
    )
    return [(row["id"], row["public_key"], Sealed(row["key_version"], row["secret_blob"])) for row in rows]


async def replace_secrets(tx: Tx, changes: Sequence[tuple[str, Sealed, Sealed]]) -> int:
    """Put the second secret of (id, before, after) in the place of the first; returns how many were still there."""
    return await tx.execute(
        """
        UPDATE wallets w SET secret_blob = c.blob, key_version = c.version
        FROM unnest($1::text[], $2::bytea[], $3::integer[], $4::bytea[], $5::integer[])
            AS c (id, old_blob, old_version, blob, version)
        WHERE w.id = c.id AND w.secret_blob = c.old_blob AND w.key_version = c.old_version
        """,
        [wallet_id for wallet_id, _, _ in changes],
        [before.blob for _, before, _ in changes],
        [before.version for _, before, _ in changes],
        [after.blob for _, _, after in changes],
        [after.version for _, _, after in changes],
    )


async def mark_ready(tx: Tx, wallet_id: str) -> datetime | None:
    """The account exists on the chain and trusts USDC. Returns since when, None when that was known."""
    sql = "UPDATE wallets SET status = 'READY' WHERE id = $1 AND status = 'PENDING' RETURNING updated_at"
    found: datetime | None = await tx.value(sql, wallet_id)
    return found


async def stranded(tx: Tx, limit: int) -> list[Wallet]:
    """Wallets that are not ready and that no saga works on; locked, so that one process takes each."""
    rows = await tx.rows(
        f"""
        SELECT {_COLUMNS} FROM wallets w
        WHERE status = 'PENDING' AND updated_at < clock_timestamp() - interval '30 seconds' AND NOT EXISTS (
            SELECT FROM sagas g WHERE g.kind = 'wallet.provision' AND g.subject_id = w.id AND g.status = 'RUNNING')
        ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
        """,
        limit,
    )
    return [_wallet(row) for row in rows]
