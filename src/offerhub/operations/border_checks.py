"""The checks of what must not be crossed: marketplaces, assets, limits, and the line between sealed and clear."""

from collections.abc import Sequence
from typing import Final

from offerhub.operations.check import Check
from offerhub.providers.trustless_work.intents import MILESTONES_MAX
from offerhub.webhook_endpoints.model import ENDPOINTS_MAX
from offerhub.webhook_endpoints.schedule import ATTEMPTS_MAX

_SECRET: Final = r"\mS[A-Z2-7]{55}\M|\mohk_[a-z]+_(key_)?[0-9A-Za-z]{8}|\mwhsec_[0-9A-Za-z+/]{16}"
"""A Stellar secret key, a key or token of ours, a secret that signs webhooks, as a regular expression."""

_WRITTEN: Final = (
    ("events", "id", "payload::text"),
    ("audit_entries", "id", "payload_before::text"),
    ("audit_entries", "id", "payload_after::text"),
    ("sagas", "id", "input::text"),
    ("saga_steps", "saga_id", "outcome::text"),
    ("saga_steps", "saga_id", "last_error"),
    ("outbox", "id::text", "payload::text"),
    ("dead_letters", "id", "payload::text"),
    ("dead_letters", "id", "trace"),
    ("webhook_attempts", "delivery_id", "request_headers::text"),
)
"""Where the program writes text of its own: table, id, column."""

BORDER_CHECKS: Final[Sequence[Check]] = (
    Check(
        "I13",
        "What belongs together is of one marketplace: accounts, sagas, milestones, deliveries.",
        """
        SELECT 'account' AS what, a.id::text, a.marketplace_id, coalesce(u.marketplace_id, o.marketplace_id) AS of
        FROM ledger.accounts a LEFT JOIN users u ON u.id = a.owner LEFT JOIN orders o ON o.id = a.owner
        WHERE coalesce(u.marketplace_id, o.marketplace_id) <> a.marketplace_id
        UNION ALL
        SELECT 'saga', g.id, g.marketplace_id, o.marketplace_id
        FROM sagas g JOIN orders o ON o.id = g.subject_id WHERE o.marketplace_id <> g.marketplace_id
        UNION ALL
        SELECT 'milestone', m.milestone_id, m.marketplace_id, e.marketplace_id
        FROM escrow_milestones m JOIN escrows e ON e.id = m.escrow_id WHERE e.marketplace_id <> m.marketplace_id
        UNION ALL
        SELECT 'delivery', d.id, d.marketplace_id, v.marketplace_id
        FROM webhook_deliveries d JOIN events v ON v.id = d.event_id WHERE v.marketplace_id <> d.marketplace_id
        """,
    ),
    Check(
        "I14",
        "Every account is in an asset that is known, and every agreed amount is in whole cents of it.",
        """
        SELECT 'account' AS what, id::text, asset, balance AS amount FROM ledger.accounts WHERE asset <> 'USD'
        UNION ALL
        SELECT * FROM (
            SELECT 'order', id, currency, amount FROM orders
            UNION ALL SELECT 'top-up', id, currency, amount FROM topups
            UNION ALL SELECT 'withdrawal', id, currency, amount FROM withdrawals
        ) agreed WHERE currency NOT IN ('USD', 'USDC') OR amount % 100000 <> 0
        """,
    ),
    Check(
        "I16",
        "Nothing has outgrown its limit: an order's milestones, a marketplace's endpoints, a delivery's attempts.",
        f"""
        SELECT 'milestones' AS what, order_id AS id, count(*) AS found FROM milestones
        GROUP BY order_id HAVING count(*) > {MILESTONES_MAX}
        UNION ALL
        SELECT 'endpoints', marketplace_id, count(*) FROM webhook_endpoints WHERE status <> 'DELETED'
        GROUP BY marketplace_id HAVING count(*) > {ENDPOINTS_MAX}
        UNION ALL
        SELECT 'attempts', id, tries FROM webhook_deliveries WHERE tries > {ATTEMPTS_MAX}
        """,
    ),
    Check(
        "I17",
        "No secret stands in clear: wallets' keys are sealed, and what the program writes holds none.",
        """
        SELECT 'wallets' AS what, id, 'secret_blob' AS column FROM wallets
        WHERE octet_length(secret_blob) < 60 OR encode(secret_blob, 'escape') ~ '^S[A-Z2-7]{55}'
        UNION ALL
        """
        + " UNION ALL ".join(
            f"SELECT '{table}', {key}, '{column.partition(':')[0]}' FROM {table} WHERE {column} ~ '{_SECRET}'"
            for table, key, column in _WRITTEN
        ),
    ),
)
