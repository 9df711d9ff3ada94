"""I11: what arrives on the chain is credited once for each operation, and nothing else is."""

import pytest
import sentences as says
from history import BUYER, MARKETPLACE
from stand import Stand

REFUSED = {
    "an operation booked twice": (
        "INSERT INTO deposits SELECT * FROM deposits",
        "deposits_pkey",
    ),
    "its money posted twice": (
        f"""
        SELECT * FROM ledger.post('{MARKETPLACE}', 'deposit:7:G:0', 'deposit', 's', NULL, 't',
            ARRAY['{BUYER}', '{MARKETPLACE}'], ARRAY['available', 'world:stellar'], ARRAY[5, -5]::bigint[])
        """,
        "one_effect_per_intent",
    ),
    "a deposit of nothing": (
        """
        INSERT INTO deposits (operation_id, operation_index, marketplace_id, user_id, address, sender,
            amount, transaction_hash, ledger) SELECT '8', 0, marketplace_id, user_id, 'G', 'G', 0, 'h', 1
            FROM deposits
        """,
        "deposits_amount_check",
    ),
    "a deposit changed": (
        "UPDATE deposits SET amount = amount + 1",
        "append_only",
    ),
    "a deposit removed": (
        "DELETE FROM deposits",
        "append_only",
    ),
    "all deposits removed": (
        "TRUNCATE deposits",
        "append_only_all",
    ),
    "a deposit of the treasury removed": (
        f"""
        INSERT INTO treasury_deposits VALUES ('1', 0, '{MARKETPLACE}', 'G', 'G', 5, 'h', 1);
        DELETE FROM treasury_deposits
        """,
        "append_only",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a deposit forgotten": (
        "DELETE FROM deposits",
        {says.DEPOSITS_ARE_POSTED},
    ),
    "a deposit changed": (
        "UPDATE deposits SET amount = amount + 1",
        {says.DEPOSITS_ARE_POSTED},
    ),
    "what was paid into the treasury invented": (
        f"INSERT INTO treasury_deposits VALUES ('1', 0, '{MARKETPLACE}', 'G', 'G', 5, 'h', 1)",
        {says.TREASURY_DEPOSITS_ARE_POSTED},
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
