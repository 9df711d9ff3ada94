"""I13: no row of a marketplace belongs to another one (tests/product/test_route_matrix.py: nor is shown to it)."""

import pytest
import sentences as says
from history import BUYER, ESCROW, MILESTONE, OTHER, SELLER
from stand import Stand

REFUSED = {
    "an order of another's buyer": (
        f"""
        INSERT INTO orders (id, marketplace_id, buyer_id, seller_id, amount, currency, title) SELECT 'ord_'
            || repeat('2', 32), '{OTHER}', buyer_id, seller_id, amount, currency, title FROM orders
        """,
        "orders_marketplace_id_buyer_id_fkey",
    ),
    "a wallet of another's user": (
        f"""
        INSERT INTO wallets (id, marketplace_id, user_id, purpose, public_key, secret_blob, key_version)
            VALUES ('wal_' || repeat('2', 32), '{OTHER}', '{SELLER}', 'user', 'G' || repeat('B', 55),
            decode(repeat('00', 84), 'hex'), 1)
        """,
        "wallets_marketplace_id_user_id_fkey",
    ),
    "a withdrawal of another's user": (
        f"""
        INSERT INTO withdrawals (id, marketplace_id, user_id, amount, currency, destination_type,
            destination_ref) VALUES ('wd_' || repeat('2', 32), '{OTHER}', '{BUYER}', 100000, 'USD',
            'bank', 'G')
        """,
        "withdrawals_marketplace_id_user_id_fkey",
    ),
    "a key for another's user": (
        f"""
        INSERT INTO api_keys (id, marketplace_id, name, secret_hash, last4, scopes, user_id) VALUES ('key_'
            || repeat('2', 32), '{OTHER}', 'k', sha256('k'), 'abcd', '{{}}', '{BUYER}')
        """,
        "api_keys_marketplace_id_user_id_fkey",
    ),
    "an escrow of another's order": (
        f"""
        INSERT INTO escrows (id, marketplace_id, order_id, amount, platform_fee_bps, roles) SELECT
            '{ESCROW}', '{OTHER}', id, amount, 0, '{{}}' FROM orders
        """,
        "escrows_marketplace_id_order_id_fkey",
    ),
    "a payout of another's milestone": (
        f"""
        INSERT INTO escrows (id, marketplace_id, order_id, amount, platform_fee_bps, roles) SELECT
            '{ESCROW}', marketplace_id, id, amount, 0, '{{}}' FROM orders;
        INSERT INTO milestones (id, marketplace_id, order_id, position, milestone_ref, title, amount) SELECT
            '{MILESTONE}', marketplace_id, id, 0, 'm', 'M', amount FROM orders;
        INSERT INTO escrow_milestones (escrow_id, position, marketplace_id, milestone_id, amount) SELECT
            '{ESCROW}', 0, '{OTHER}', id, amount FROM milestones
        """,
        "escrow_milestones_marketplace_id_escrow_id_fkey",
    ),
    "a delivery of another's event": (
        f"""
        INSERT INTO webhook_endpoints (id, marketplace_id, kind, url, event_types) VALUES ('whe_' ||
            repeat('2', 32), '{OTHER}', 'PUSH', 'https://other.example', '{{*}}');
        INSERT INTO webhook_deliveries (id, marketplace_id, endpoint_id, event_id, event_type,
            aggregate_type, aggregate_id, sequence) SELECT 'whd_' || repeat('2', 32), '{OTHER}', 'whe_' ||
            repeat('2', 32), id, type, aggregate_type, aggregate_id, sequence FROM events LIMIT 1
        """,
        "one_marketplace",
    ),
    "an order given away": (
        f"UPDATE orders SET marketplace_id = '{OTHER}'",
        "stays_itself",
    ),
    "a user given away": (
        f"UPDATE users SET marketplace_id = '{OTHER}'",
        "stays_itself",
    ),
    "an account given away": (
        f"UPDATE ledger.accounts SET marketplace_id = '{OTHER}'",
        "stays_itself",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a user given away with the money": (
        f"UPDATE users SET marketplace_id = '{OTHER}' WHERE id = '{BUYER}'",
        {says.ONE_MARKETPLACE},
    ),
    "a delivery of another's event": (
        f"UPDATE webhook_deliveries SET marketplace_id = '{OTHER}'",
        {says.ONE_MARKETPLACE},
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
