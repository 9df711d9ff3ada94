"""I2: a stored balance is the sum of its postings; each begins where the one before it ended."""

import pytest
import sentences as says
from history import MARKETPLACE, SELLER
from stand import Stand

REFUSED = {
    "a balance set by hand": (
        "UPDATE ledger.accounts SET balance = balance + 1 WHERE kind = 'available'",
        "each_change_is_posted",
    ),
    "with its version": (
        """
        UPDATE ledger.accounts SET balance = balance + 1, version = version + 1 WHERE kind = 'available'
        """,
        "each_change_is_posted",
    ),
    "a version set by hand": (
        "UPDATE ledger.accounts SET version = version + 1 WHERE kind = 'available'",
        "each_change_is_posted",
    ),
    "an account that begins with money": (
        f"""
        INSERT INTO ledger.accounts (marketplace_id, owner, kind, floored, balance) VALUES ('{MARKETPLACE}',
            '{SELLER}', 'available', true, 5)
        """,
        "begins_empty",
    ),
    "an account of somebody else": (
        f"UPDATE ledger.accounts SET owner = '{SELLER}' WHERE kind = 'reserved'",
        "stays_itself",
    ),
    "a posting that skips a version": (
        """
        INSERT INTO ledger.postings (transaction_id, position, account_id, amount, account_version,
            balance_after) SELECT 1, p, id, p * 2 - 17, 90 + p, 1 FROM ledger.accounts, generate_series(8,
            9) p WHERE kind = 'reserved'
        """,
        "balanced",
    ),
    "two postings of one version": (
        """
        INSERT INTO ledger.postings (transaction_id, position, account_id, amount, account_version,
            balance_after) SELECT 1, 9, account_id, amount, account_version, balance_after FROM
            ledger.postings WHERE account_version = 1 LIMIT 1
        """,
        "versions_are_gap_free",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a balance changed": (
        "UPDATE ledger.accounts SET balance = balance + 1 WHERE kind = 'available'",
        {says.BALANCES_ARE_SUMS},
    ),
    "a running balance changed": (
        """
        UPDATE ledger.postings SET balance_after = balance_after + 1 WHERE account_version = 2
        """,
        {says.POSTINGS_FOLLOW},
    ),
    "a version lost": (
        "UPDATE ledger.postings SET account_version = 9 WHERE account_version = 4",
        {says.POSTINGS_FOLLOW},
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
