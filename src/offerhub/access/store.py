"""All SQL of marketplaces and API keys."""

from datetime import datetime

import asyncpg

from offerhub.access.model import ApiKey, Marketplace
from offerhub.errors import UserNotFound
from offerhub.kernel.pages import Page
from offerhub.runtime import paging
from offerhub.runtime.database import Row, Tx

_KEY_COLUMNS = (
    "id, marketplace_id, name, secret_hash, last4, scopes, user_id, created_at, last_used_at, expires_at, revoked_at"
)
_USER_CONSTRAINT = "api_keys_marketplace_id_user_id_fkey"


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        marketplace_id=row["marketplace_id"],
        name=row["name"],
        secret_hash=row["secret_hash"],
        last4=row["last4"],
        scopes=tuple(row["scopes"]),
        user_id=row["user_id"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


def _marketplace(row: Row) -> Marketplace:
    return Marketplace(row["id"], row["name"], row["created_at"])


async def find_key(tx: Tx, key_id: str) -> ApiKey | None:
    """The key with this id, in whatever marketplace; for authentication."""
    row = await tx.row(f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE id = $1", key_id)
    return None if row is None else _key(row)


async def get_key(
    tx: Tx, marketplace_id: str, key_id: str, *, user_id: str | None, for_update: bool
) -> ApiKey | None:
    """The marketplace's key; with a user, only when it is bound to that user."""
    sql = (
        f"SELECT {_KEY_COLUMNS} FROM api_keys"
        " WHERE id = $1 AND marketplace_id = $2 AND ($3::text IS NULL OR user_id = $3)"
    )
    row = await tx.row(sql + (" FOR UPDATE" if for_update else ""), key_id, marketplace_id, user_id)
    return None if row is None else _key(row)


async def insert_key(
    tx: Tx,
    *,
    key_id: str,
    marketplace_id: str,
    name: str,
    secret_hash: bytes,
    last4: str,
    scopes: list[str],
    user_id: str | None,
    expires_at: datetime | None,
) -> ApiKey:
    """Store a new key. Raises UserNotFound when it is bound to a user whom the marketplace does not have."""
    try:
        row = await tx.one(
            "INSERT INTO api_keys"
            " (id, marketplace_id, name, secret_hash, last4, scopes, user_id, expires_at)"
            f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {_KEY_COLUMNS}",
            key_id,
            marketplace_id,
            name,
            secret_hash,
            last4,
            scopes,
            user_id,
            expires_at,
        )
    except asyncpg.ForeignKeyViolationError as error:
        if error.constraint_name != _USER_CONSTRAINT:
            raise
        raise UserNotFound(userId=user_id) from None
    return _key(row)


async def list_keys(
    tx: Tx, marketplace_id: str, *, user_id: str | None, bound_to: str | None, query: paging.PageQuery
) -> Page:
    """One page of the marketplace's keys, newest first; `bound_to` narrows to what a bound caller may see."""
    filters = {"user_id": user_id, "user_id = ?": bound_to}
    select = f"SELECT {_KEY_COLUMNS} FROM api_keys"
    found = await paging.fetch(tx, marketplace_id, select, "api_keys", filters, query)
    return Page([_key(row) for row in found.items], found.next_cursor)


async def revoke_key(tx: Tx, key_id: str) -> ApiKey:
    """Revoke a key now. The caller holds its lock."""
    row = await tx.one(
        "UPDATE api_keys SET revoked_at = clock_timestamp()"
        f" WHERE id = $1 AND revoked_at IS NULL RETURNING {_KEY_COLUMNS}",
        key_id,
    )
    return _key(row)


async def touch_key(tx: Tx, key_id: str, interval_seconds: float) -> None:
    """Note that the key was used, unless that was noted less than this many seconds ago."""
    await tx.execute(
        "UPDATE api_keys SET last_used_at = clock_timestamp() WHERE id = $1"
        " AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - make_interval(secs => $2))",
        key_id,
        interval_seconds,
    )


async def marketplace_exists(tx: Tx, marketplace_id: str) -> bool:
    """True when there is such a marketplace."""
    return await tx.row("SELECT FROM marketplaces WHERE id = $1", marketplace_id) is not None


async def insert_marketplace(tx: Tx, marketplace_id: str, name: str) -> Marketplace | None:
    """Store a new marketplace; None when the name is taken."""
    row = await tx.row(
        "INSERT INTO marketplaces (id, name) VALUES ($1, $2)"
        " ON CONFLICT (name) DO NOTHING RETURNING id, name, created_at",
        marketplace_id,
        name,
    )
    return None if row is None else _marketplace(row)


async def marketplace_named(tx: Tx, name: str) -> Marketplace:
    """The marketplace of this name, which must exist."""
    return _marketplace(await tx.one("SELECT id, name, created_at FROM marketplaces WHERE name = $1", name))


async def list_marketplaces(tx: Tx) -> list[Marketplace]:
    """Every marketplace, newest first."""
    return [
        _marketplace(row) for row in await tx.rows("SELECT id, name, created_at FROM marketplaces ORDER BY id DESC")
    ]
