"""I3: what is available and what is held is never below zero; held is what the reservations hold."""

import pytest
import sentences as says
from history import MARKETPLACE, SELLER
from stand import Stand

REFUSED = {
    "a balance below zero": (
        "UPDATE ledger.accounts SET balance = -1 WHERE kind = 'reserved'",
        "floor_holds",
    ),
    "spending what is not there": (
        f"""
        SELECT * FROM ledger.post('{MARKETPLACE}', 'k', 'x', 's', NULL, 't', ARRAY['{SELLER}',
            '{MARKETPLACE}'], ARRAY['available', 'world:manual'], ARRAY[-5, 5]::bigint[])
        """,
        "OH001",
    ),
    "a user's account without a floor": (
        f"""
        INSERT INTO ledger.accounts (marketplace_id, owner, kind, floored) VALUES ('{MARKETPLACE}',
            '{SELLER}', 'available', false)
        """,
        "floor_of_its_kind",
    ),
    "an account that loses its floor": (
        "UPDATE ledger.accounts SET floored = false WHERE kind = 'available'",
        "stays_itself",
    ),
    "a negative reservation": (
        "UPDATE ledger.holds SET amount = -1",
        "holds_amount_check",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a running balance below zero": (
        """
        UPDATE ledger.postings SET balance_after = -1 WHERE account_version = 1 AND account_id = (SELECT id
            FROM ledger.accounts WHERE kind = 'reserved')
        """,
        {
            says.FLOORS_HOLD,
            says.POSTINGS_FOLLOW,
        },
    ),
    "a reservation changed": (
        "UPDATE ledger.holds SET amount = amount - 1",
        {
            says.RESERVED_IS_HELD,
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
