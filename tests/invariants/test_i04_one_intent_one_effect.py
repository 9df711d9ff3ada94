"""I4: one business intent has at most one effect, here and at the provider."""

import pytest
import sentences as says
from history import BUYER, MARKETPLACE, WITHDRAWAL
from stand import Stand

REFUSED = {
    "a business key posted twice": (
        f"""
        SELECT * FROM ledger.post('{MARKETPLACE}', 'deposit:7:G:0', 'x', 's', NULL, 't', ARRAY['{BUYER}',
            '{MARKETPLACE}'], ARRAY['available', 'world:manual'], ARRAY[5, -5]::bigint[])
        """,
        "one_effect_per_intent",
    ),
    "an idempotency key used twice": (
        f"""
        INSERT INTO idempotent_requests (credential_id, key, marketplace_id, method, path, fingerprint,
            expires_at) SELECT 'c', 'k', '{MARKETPLACE}', 'POST', '/', '', now() FROM generate_series(1, 2)
        """,
        "idempotent_requests_pkey",
    ),
    "two running sagas for one thing": (
        f"""
        INSERT INTO sagas (id, marketplace_id, kind, subject_id, input) VALUES ('sga_' || repeat('2', 32),
            '{MARKETPLACE}', 'withdrawal.pay', '{WITHDRAWAL}', '{{}}')
        """,
        "one_running_saga",
    ),
    "two payins in one": (
        f"""
        INSERT INTO topups (id, marketplace_id, user_id, airtm_user_id, amount, currency, airtm_payin_id)
            VALUES ('topup_' || repeat('2', 32), '{MARKETPLACE}', '{BUYER}', 'a', 100000, 'USD', 'p')
        """,
        "topups_airtm_payin_id_key",
    ),
    "two escrows of an order": (
        """
        INSERT INTO escrows (id, marketplace_id, order_id, amount, platform_fee_bps, roles) SELECT 'esc_' ||
            repeat(n::text, 32), marketplace_id, id, amount, 0, '{}' FROM orders, generate_series(1, 2) n
        """,
        "escrows_order_id_key",
    ),
    "a webhook taken twice": (
        """
        INSERT INTO webhook_events (provider, event_id, event_type) SELECT 'AIRTM', 'e', 't' FROM
            generate_series(1, 2)
        """,
        "webhook_events_pkey",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a withdrawal completed without a posting": (
        "UPDATE withdrawals SET status = 'WITHDRAWAL_COMPLETED'",
        {
            says.WITHDRAWALS_END_ONCE,
            says.WITHDRAWALS_HOLD,
            says.ENDS_HAVE_EVENTS,
            says.STATES_ARE_TOLD,
        },
    ),
    "an order moved without its money": (
        "UPDATE orders SET status = 'CLOSED', final_status = 'CANCELED', closed_at = now()",
        {
            says.ORDERS_HOLD,
            says.ENDS_HAVE_EVENTS,
            says.STATES_ARE_TOLD,
        },
    ),
    "a top-up's credit changed": (
        "UPDATE topups SET net_amount = net_amount - 1, fee = fee + 1",
        {says.TOPUPS_ARE_POSTED},
    ),
    "a payout said to have come back": (
        """
        INSERT INTO airtm_refunds (deposit_id, payout_id, amount, status, marketplace_id, withdrawal_id,
            reason, settled_at) SELECT 'd', 'p', 1, 'REVERSED', marketplace_id, id, 'r', now() FROM
            withdrawals
        """,
        {
            says.REVERSALS_ARE_POSTED,
            says.ENDS_HAVE_EVENTS,
        },
    ),
    "a deposit posted against Airtm": (
        "UPDATE ledger.transactions SET kind = 'deposit' WHERE kind = 'topup'",
        {
            says.AIRTM_IS_MOVED_BY_ITS_OWN,
            says.TOPUPS_ARE_POSTED,
            says.DEPOSITS_ARE_POSTED,
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
