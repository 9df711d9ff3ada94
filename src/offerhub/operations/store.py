"""All SQL of operations."""

from typing import Final

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
