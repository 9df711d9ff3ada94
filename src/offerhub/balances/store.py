"""All SQL of balances."""

from offerhub.balances.model import Balance
from offerhub.runtime.database import Tx


async def get(tx: Tx, marketplace_id: str, user_id: str) -> Balance | None:
    """The balance of a user; zeros for one whose money never moved, None for an unknown user."""
    row = await tx.row(
        """
        SELECT coalesce(sum(a.balance) FILTER (WHERE a.kind = 'available'), 0)::bigint AS available,
            coalesce(sum(a.balance) FILTER (WHERE a.kind IN ('reserved', 'withdrawing')), 0)::bigint AS reserved,
            coalesce(max(a.updated_at), u.created_at) AS updated_at
        FROM users u
        LEFT JOIN ledger.accounts a ON a.marketplace_id = u.marketplace_id AND a.owner = u.id
        WHERE u.marketplace_id = $1 AND u.id = $2
        GROUP BY u.id
        """,
        marketplace_id,
        user_id,
    )
    if row is None:
        return None
    return Balance(user_id, row["available"], row["reserved"], row["updated_at"])
