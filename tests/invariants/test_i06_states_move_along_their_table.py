"""I6: states begin at their beginning, move along the table only, and an end is never left."""

import pytest
import sentences as says
from history import ESCROW
from stand import Stand

from test_states import MACHINES

REFUSED = {
    "a move that the table lacks": (
        "UPDATE orders SET status = 'RELEASED'",
        "OH003",
    ),
    "an end that is left": (
        "UPDATE topups SET status = 'TOPUP_PROCESSING', net_amount = NULL, fee = NULL",
        "OH003",
    ),
    "an order that begins in the middle": (
        """
        INSERT INTO orders (id, marketplace_id, buyer_id, seller_id, amount, currency, title, status) SELECT
            'ord_' || repeat('2', 32), marketplace_id, buyer_id, seller_id, amount, currency, title,
            'IN_PROGRESS' FROM orders
        """,
        "beginning",
    ),
    "an order removed": (
        "DELETE FROM orders",
        "stays",
    ),
    "a withdrawal removed": (
        "DELETE FROM withdrawals",
        "stays",
    ),
    "a move taken from the table": (
        "DELETE FROM state_moves",
        "stays",
    ),
    "a move changed in the table": (
        "UPDATE state_moves SET target = 'CLOSED' WHERE machine = 'orders.status'",
        "stays_itself",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a withdrawal failed without giving back": (
        "UPDATE withdrawals SET status = 'WITHDRAWAL_FAILED'",
        {
            says.WITHDRAWALS_HOLD,
            says.WITHDRAWALS_END_ONCE,
            says.ENDS_HAVE_EVENTS,
            says.STATES_ARE_TOLD,
        },
    ),
    "an escrow without a place in the order's story": (
        f"""
        INSERT INTO escrows (id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps,
            roles) SELECT '{ESCROW}', marketplace_id, id, 'C', 'CREATED', amount, 0, '{{}}' FROM orders
        """,
        {
            says.SAME_STORY,
            says.STATES_ARE_TOLD,
        },
    ),
    "an end that something follows": (
        """
        UPDATE events SET type = CASE sequence WHEN 1 THEN 'topup.succeeded' ELSE 'topup.processing' END
            WHERE aggregate_type = 'TopUp'
        """,
        {says.EVENTS_FOLLOW_THE_TABLE, says.STATES_ARE_TOLD},
    ),
    "a state put back": (
        "UPDATE orders SET status = 'ORDER_CREATED'",
        {
            says.STATES_ARE_TOLD,
            says.ORDERS_HOLD,
        },
    ),
}
"""What was done with every guard out of the way, and the sentences that the proof says not to hold."""


@pytest.mark.parametrize("case", REFUSED)
async def test_the_database_refuses(stand: Stand, case: str) -> None:
    sql, guard = REFUSED[case]
    assert await stand.refusal_of(sql) == guard


@pytest.mark.parametrize("case", FOUND)
async def test_the_proof_finds(stand: Stand, case: str) -> None:
    sql, sentences = FOUND[case]
    assert await stand.found_after(sql) == sentences


async def test_everything_that_money_depends_on_begins_at_the_beginning_of_its_machine(stand: Stand) -> None:
    """The guards name the beginnings that the code names, and those are the columns' defaults."""
    rows = await stand.database.run(
        lambda tx: tx.rows(
            """
            SELECT c.relname AS name, pg_get_triggerdef(t.oid) AS guard, pg_get_expr(d.adbin, d.adrelid) AS default
            FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'status'
            JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE t.tgname = 'beginning'
            """
        )
    )
    initial = {one.column.partition(".")[0]: one.initial for one in MACHINES}
    assert len(rows) == 12
    for row in rows:
        assert f"'{initial[row['name']]}'::text" in row["guard"]
        assert row["default"] == f"'{initial[row['name']]}'::text"
