"""The tables of the bundle: each file with the query whose rows it holds, in an order that a reader can rely on.

Amounts are whole units of 10^-7. Free text, payloads, addresses of mail and whatever is sealed are left out.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from offerhub.operations.histories import HISTORIES


class Table(NamedTuple):
    """A file, and what is in it."""

    file: str
    sql: str


_STATES: Final = " UNION ALL ".join(
    f"SELECT '{aggregate}' AS aggregate_type, id, marketplace_id, status FROM {machine.column.partition('.')[0]}"
    for aggregate, machine in HISTORIES.items()
)

TABLES: Final[Sequence[Table]] = (
    Table(
        "accounts.csv",
        """
        SELECT id, marketplace_id, owner, kind, asset, floored, balance, version FROM ledger.accounts ORDER BY id
        """,
    ),
    Table(
        "transactions.csv",
        """
        SELECT id, marketplace_id, business_key, kind, subject, actor, to_char(posted_at AT TIME ZONE 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS posted_at
        FROM ledger.transactions ORDER BY id
        """,
    ),
    Table(
        "postings.csv",
        """
        SELECT transaction_id, position, account_id, amount, account_version, balance_after
        FROM ledger.postings ORDER BY transaction_id, position
        """,
    ),
    Table("moves.csv", "SELECT machine, source, target FROM state_moves ORDER BY machine, source, target"),
    Table("states.csv", f"SELECT * FROM ({_STATES}) s ORDER BY aggregate_type, id"),
    Table(
        "events.csv",
        """
        SELECT e.aggregate_type, e.aggregate_id, e.sequence, e.type, e.id, e.marketplace_id, l.place
        FROM events e LEFT JOIN event_log l ON l.event = e.position
        ORDER BY e.aggregate_type, e.aggregate_id, e.sequence
        """,
    ),
    Table(
        "deposits.csv",
        """
        SELECT * FROM (
            SELECT 'deposit' AS kind, operation_id, address, operation_index, marketplace_id, user_id, amount,
                transaction_hash, ledger, business_key FROM deposits
            UNION ALL
            SELECT 'treasury_deposit', operation_id, address, operation_index, marketplace_id, NULL, amount,
                transaction_hash, ledger, business_key FROM treasury_deposits
        ) d ORDER BY operation_id, address, operation_index
        """,
    ),
    Table(
        "escrows.csv",
        """
        SELECT e.id, e.marketplace_id, e.order_id, o.escrow_type, e.contract_id, e.status, o.status AS order_status,
            e.amount, coalesce(p.funded, 0) AS funded, coalesce(f.released, 0) AS released,
            coalesce(f.refunded, 0) AS refunded, coalesce(f.platform_fee, 0) AS platform_fee,
            coalesce(f.protocol_fee, 0) AS protocol_fee, coalesce(f.surplus, 0) AS surplus,
            coalesce(p.remaining, 0) AS remaining
        FROM escrows e JOIN orders o ON o.id = e.order_id
        LEFT JOIN (
            SELECT a.marketplace_id, a.owner, sum(p.amount) FILTER (WHERE p.amount > 0) AS funded,
                sum(p.amount) AS remaining
            FROM ledger.accounts a JOIN ledger.postings p ON p.account_id = a.id WHERE a.kind = 'escrow'
            GROUP BY a.marketplace_id, a.owner
        ) p ON p.marketplace_id = e.marketplace_id AND p.owner = e.order_id
        LEFT JOIN (
            SELECT t.subject,
                sum(p.amount) FILTER (WHERE a.kind = 'available' AND a.owner = x.seller_id) AS released,
                sum(p.amount) FILTER (WHERE a.kind = 'available' AND a.owner = x.buyer_id) AS refunded,
                sum(p.amount) FILTER (WHERE a.kind = 'fees:platform') AS platform_fee,
                sum(p.amount) FILTER (WHERE a.kind = 'fees:trustless_work') AS protocol_fee,
                -sum(p.amount) FILTER (WHERE a.kind = 'world:stellar' OR a.kind LIKE '%:treasury') AS surplus
            FROM ledger.transactions t JOIN orders x ON x.id = t.subject
            JOIN ledger.postings p ON p.transaction_id = t.id JOIN ledger.accounts a ON a.id = p.account_id
            WHERE t.kind IN ('released', 'refunded') OR t.kind LIKE 'milestone\\_%' GROUP BY t.subject
        ) f ON f.subject = e.order_id
        ORDER BY e.id
        """,
    ),
    Table(
        "envelopes.csv",
        """
        SELECT e.source_account, e.sequence, e.hash, e.status, e.submissions, e.ledger, e.included_as,
            e.result ->> 'absentAt' AS absent_at, g.kind AS saga, g.subject_id AS subject, s.name AS step,
            CASE WHEN e.status IN ('SUCCEEDED', 'FAILED', 'EXPIRED') THEN e.xdr END AS xdr
        FROM envelopes e JOIN sagas g ON g.id = e.saga_id
        JOIN saga_steps s ON s.saga_id = e.saga_id AND s.position = e.position
        ORDER BY e.source_account, e.sequence, e.hash
        """,
    ),
    Table("fee_bumps.csv", "SELECT inner_hash, hash, fee_source, bid FROM fee_bumps ORDER BY inner_hash, bid"),
)
