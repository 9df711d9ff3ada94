"""All SQL of users."""

from collections.abc import Sequence
from typing import Final

from offerhub.kernel.pages import Page
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.paging import PageQuery, fetch
from offerhub.users.model import User, UserView, shown_wallet

_COLUMNS: Final = """users.id, users.marketplace_id, external_user_id, email, users.type, users.status, airtm_user_id,
    airtm_email, airtm_linked_at, users.created_at, users.updated_at"""

_VIEW: Final = f"""
SELECT {_COLUMNS}, wallets.public_key, wallets.status AS wallet_status,
    coalesce((SELECT sum(balance) FROM ledger.accounts a WHERE a.marketplace_id = users.marketplace_id
        AND a.owner = users.id AND a.kind = 'available'), 0)::bigint AS available,
    coalesce((SELECT sum(balance) FROM ledger.accounts a WHERE a.marketplace_id = users.marketplace_id
        AND a.owner = users.id AND a.kind IN ('reserved', 'withdrawing')), 0)::bigint AS reserved
FROM users LEFT JOIN wallets ON wallets.user_id = users.id AND wallets.is_active AND wallets.is_primary
"""


def _user(row: Row) -> User:
    return User(
        row["id"],
        row["marketplace_id"],
        row["external_user_id"],
        row["email"],
        row["type"],
        row["status"],
        row["airtm_user_id"],
        row["airtm_email"],
        row["airtm_linked_at"],
        row["created_at"],
        row["updated_at"],
    )


def _view(row: Row) -> UserView:
    wallet = None
    if row["public_key"] is not None:
        wallet = shown_wallet(row["public_key"], row["wallet_status"])
    return UserView(_user(row), row["available"], row["reserved"], wallet)


async def id_of(tx: Tx, marketplace_id: str, external_user_id: str) -> str:
    """The id of the user with this external id; there must be one."""
    row = await tx.one(
        "SELECT id FROM users WHERE marketplace_id = $1 AND external_user_id = $2", marketplace_id, external_user_id
    )
    return str(row["id"])


async def get(tx: Tx, marketplace_id: str, user_id: str) -> User | None:
    """The user, within its marketplace."""
    row = await tx.row(
        f"SELECT {_COLUMNS} FROM users WHERE marketplace_id = $1 AND id = $2",
        marketplace_id,
        user_id,
    )
    return None if row is None else _user(row)


async def lock(tx: Tx, marketplace_id: str, user_id: str) -> User | None:
    """The user, locked until the transaction ends."""
    row = await tx.row(
        f"SELECT {_COLUMNS} FROM users WHERE marketplace_id = $1 AND id = $2 FOR UPDATE", marketplace_id, user_id
    )
    return None if row is None else _user(row)


async def link_airtm(tx: Tx, marketplace_id: str, user_id: str, airtm_user_id: str, email: str) -> User | None:
    """Write the link of a user that has none; None when the account belongs to another user of the marketplace."""
    # Two links to one account take turns here: the second one then sees the first.
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('airtm' || chr(10) || $1 || chr(10) || $2, 0))",
        marketplace_id,
        airtm_user_id,
    )
    row = await tx.row(
        f"""
        UPDATE users SET airtm_user_id = $3, airtm_email = $4, airtm_linked_at = clock_timestamp()
        WHERE marketplace_id = $1 AND id = $2 AND airtm_user_id IS NULL AND NOT EXISTS (
            SELECT FROM users other WHERE other.marketplace_id = $1 AND other.airtm_user_id = $3)
        RETURNING {_COLUMNS}
        """,
        marketplace_id,
        user_id,
        airtm_user_id,
        email,
    )
    return None if row is None else _user(row)


async def get_many(tx: Tx, marketplace_id: str, user_ids: Sequence[str]) -> dict[str, User]:
    """Id to user, for those that the marketplace has."""
    rows = await tx.rows(
        f"SELECT {_COLUMNS} FROM users WHERE marketplace_id = $1 AND id = ANY($2::text[])",
        marketplace_id,
        list(user_ids),
    )
    return {row["id"]: _user(row) for row in rows}


async def view(tx: Tx, marketplace_id: str, user_id: str) -> UserView | None:
    """The user with balances and wallet."""
    row = await tx.row(f"{_VIEW} WHERE users.marketplace_id = $1 AND users.id = $2", marketplace_id, user_id)
    return None if row is None else _view(row)


async def views(tx: Tx, marketplace_id: str, user_type: str | None, status: str | None, query: PageQuery) -> Page:
    """One page of users."""
    filters = {"users.type": user_type, "users.status": status}
    found = await fetch(tx, marketplace_id, _VIEW, "users", filters, query)
    return Page([_view(row).wire() for row in found.items], found.next_cursor)
