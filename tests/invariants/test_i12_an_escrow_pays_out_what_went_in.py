"""I12: what was funded is released, refunded, paid as fees, or still there; never more."""

import pytest
import sentences as says
from history import ESCROW, MARKETPLACE, MILESTONE, ORDER, SELLER
from stand import Stand

REFUSED = {
    "more out of an escrow than in": (
        f"""
        SELECT * FROM ledger.post('{MARKETPLACE}', 'k', 'x', '{ORDER}', NULL, 't', ARRAY['{ORDER}',
            '{SELLER}'], ARRAY['escrow', 'available'], ARRAY[-5, 5]::bigint[])
        """,
        "OH001",
    ),
    "an order's amount changed": (
        "UPDATE orders SET amount = amount + 100000",
        "stays_itself",
    ),
    "an escrow's amount changed": (
        f"""
        INSERT INTO escrows (id, marketplace_id, order_id, amount, platform_fee_bps, roles) SELECT
            '{ESCROW}', marketplace_id, id, amount, 0, '{{}}' FROM orders;
        UPDATE escrows SET amount = amount + 100000
        """,
        "stays_itself",
    ),
    "a fee beyond bounds": (
        f"""
        INSERT INTO escrows (id, marketplace_id, order_id, amount, platform_fee_bps, roles) SELECT
            '{ESCROW}', marketplace_id, id, amount, 5001, '{{}}' FROM orders
        """,
        "escrows_platform_fee_bps_check",
    ),
    "a milestone that pays out more than it has": (
        f"""
        INSERT INTO escrows (id, marketplace_id, order_id, amount, platform_fee_bps, roles) SELECT
            '{ESCROW}', marketplace_id, id, amount, 0, '{{}}' FROM orders;
        INSERT INTO milestones (id, marketplace_id, order_id, position, milestone_ref, title, amount) SELECT
            '{MILESTONE}', marketplace_id, id, 0, 'm', 'M', amount FROM orders;
        INSERT INTO escrow_milestones (escrow_id, position, marketplace_id, milestone_id, amount) SELECT
            '{ESCROW}', 0, marketplace_id, id, amount FROM milestones;
        UPDATE escrow_milestones SET status = 'PAYING';
        UPDATE escrow_milestones SET status = 'RELEASED', seller_share = amount + 1, paid_at = now()
        """,
        "escrow_milestones_check1",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "an escrow said to be funded": (
        f"""
        INSERT INTO escrows (id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps,
            roles) SELECT '{ESCROW}', marketplace_id, id, 'C', 'FUNDED', amount, 0, '{{}}' FROM orders
        """,
        {
            says.ESCROWS_HOLD,
            says.SAME_STORY,
            says.STATES_ARE_TOLD,
        },
    ),
    "a milestone said to be paid": (
        f"""
        UPDATE orders SET escrow_type = 'multi-release';
        INSERT INTO escrows (id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps,
            roles) SELECT '{ESCROW}', marketplace_id, id, 'C', 'RELEASED', amount, 0, '{{}}' FROM orders;
        INSERT INTO milestones (id, marketplace_id, order_id, position, milestone_ref, title, amount) SELECT
            '{MILESTONE}', marketplace_id, id, 0, 'm', 'M', amount FROM orders;
        INSERT INTO escrow_milestones (escrow_id, position, marketplace_id, milestone_id, amount, status,
            seller_share, paid_at) SELECT '{ESCROW}', 0, marketplace_id, id, amount, 'RELEASED', amount,
            now() FROM milestones
        """,
        {
            says.MILESTONES_ARE_POSTED,
            says.SAME_STORY,
            says.STATES_ARE_TOLD,
        },
    ),
    "an order said to be multi-release": (
        f"""
        UPDATE orders SET escrow_type = 'multi-release';
        INSERT INTO escrows (id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps,
            roles) SELECT '{ESCROW}', marketplace_id, id, 'C', 'CREATED', amount, 0, '{{}}' FROM orders
        """,
        {
            says.MILESTONES_ARE_THE_ORDERS,
            says.SAME_STORY,
            says.STATES_ARE_TOLD,
        },
    ),
    "an escrow account that got another amount": (
        f"""
        INSERT INTO ledger.accounts (marketplace_id, owner, kind, floored, balance, version) VALUES
            ('{MARKETPLACE}', '{ORDER}', 'escrow', true, 5, 1);
        INSERT INTO ledger.postings SELECT 1, 9, max(id), 5, 1, 5 FROM ledger.accounts
        """,
        {
            says.ESCROWS_PAY_OUT,
            says.ESCROWS_HOLD,
            says.ASSETS_SUM_TO_ZERO,
            says.TRANSACTIONS_BALANCE,
            says.DEPOSITS_ARE_POSTED,
        },
    ),
    "an escrow said to be paid in by the treasury": (
        f"""
        INSERT INTO escrows (id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps,
            roles, treasury) SELECT '{ESCROW}', marketplace_id, id, 'C', 'FUNDED', amount, 0, '{{}}', 'G' ||
            repeat('A', 55) FROM orders;
        INSERT INTO ledger.transactions (marketplace_id, business_key, kind, subject, actor) VALUES
            ('{MARKETPLACE}', 'tampered', 'fund_escrow', '{ORDER}', 'nobody')
        """,
        {
            says.TREASURY_PAID_ITS_OWN,
            says.ESCROWS_HOLD,
            says.SAME_STORY,
            says.STATES_ARE_TOLD,
            says.TRANSACTIONS_BALANCE,
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
