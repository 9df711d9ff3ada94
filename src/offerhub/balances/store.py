"""All SQL of balances."""

from typing import Final

from offerhub.balances.model import Balance
from offerhub.runtime.lookups import Lookups

OF_USERS: Final = """
SELECT asked.number, found.available, found.reserved, found.updated_at
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (marketplace_id, user_id, number)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(a.balance) FILTER (WHERE a.kind = 'available'), 0)::bigint AS available,
        coalesce(sum(a.balance) FILTER (WHERE a.kind IN ('reserved', 'withdrawing')), 0)::bigint AS reserved,
        coalesce(max(a.updated_at), u.created_at) AS updated_at
    FROM users u
    LEFT JOIN ledger.accounts a ON a.marketplace_id = u.marketplace_id AND a.owner = u.id
    WHERE u.marketplace_id = asked.marketplace_id AND u.id = asked.user_id
    GROUP BY u.id
) AS found
"""
"""The balances of users, by marketplace and id; zeros for one whose money never moved."""


async def get(balances: Lookups, marketplace_id: str, user_id: str) -> Balance | None:
    """The balance of a user, None for an unknown one. `balances` looks up by OF_USERS."""
    row = await balances.find(marketplace_id, user_id)
    if row is None:
        return None
    return Balance(user_id, row["available"], row["reserved"], row["updated_at"])
