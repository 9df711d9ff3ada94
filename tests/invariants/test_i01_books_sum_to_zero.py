"""I1: the postings of every asset sum to zero, and so does every transaction, within one marketplace."""

import pytest
import sentences as says
from history import MARKETPLACE, OTHER
from stand import Stand

REFUSED = {
    "postings that do not balance": (
        """
        INSERT INTO ledger.postings (transaction_id, position, account_id, amount) SELECT 1, 9, id, 5 FROM
            ledger.accounts WHERE kind = 'world:stellar'
        """,
        "balanced",
    ),
    "a post of one leg": (
        f"""
        SELECT * FROM ledger.post('{MARKETPLACE}', 'k', 'x', 's', NULL, 't', ARRAY['{MARKETPLACE}'],
            ARRAY['world:manual'], ARRAY[5]::bigint[])
        """,
        "balanced",
    ),
    "a posting on no account": (
        """
        INSERT INTO ledger.postings (transaction_id, position, account_id, amount) VALUES (1, 8, 999999, 5),
            (1, 9, 999999, -5)
        """,
        "balanced",
    ),
    "a posting of no transaction": (
        """
        INSERT INTO ledger.postings (transaction_id, position, account_id, amount) SELECT 999999, p, id, p *
            2 - 17 FROM ledger.accounts, generate_series(8, 9) p WHERE kind = 'world:stellar'
        """,
        "balanced",
    ),
    "a posting in another marketplace": (
        f"""
        INSERT INTO ledger.accounts (marketplace_id, owner, kind, floored) VALUES ('{OTHER}', '{OTHER}',
            'world:manual', false);
        INSERT INTO ledger.postings (transaction_id, position, account_id, amount) SELECT 1, p, id, p * 2 -
            17 FROM ledger.accounts, generate_series(8, 9) p WHERE marketplace_id = '{OTHER}'
        """,
        "balanced",
    ),
    "a posting changed": (
        "UPDATE ledger.postings SET amount = amount + 1",
        "append_only",
    ),
    "a posting removed": (
        "DELETE FROM ledger.postings",
        "append_only",
    ),
    "all postings removed": (
        "TRUNCATE ledger.postings",
        "append_only_all",
    ),
    "a transaction changed": (
        "UPDATE ledger.transactions SET reason = 'x'",
        "append_only",
    ),
    "an account removed": (
        "DELETE FROM ledger.accounts",
        "accounts_stay",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a posting changed": (
        """
        UPDATE ledger.postings SET amount = amount + 1 WHERE transaction_id = 1 AND account_id = (SELECT id
            FROM ledger.accounts WHERE kind = 'world:stellar')
        """,
        {says.ASSETS_SUM_TO_ZERO, says.TRANSACTIONS_BALANCE},
    ),
    "a posting moved to another transaction": (
        """
        UPDATE ledger.postings SET transaction_id = 3, position = 7 WHERE transaction_id = 1 AND position =
            0
        """,
        {
            says.TRANSACTIONS_BALANCE,
        },
    ),
    "an account given to another marketplace": (
        f"UPDATE ledger.accounts SET marketplace_id = '{OTHER}' WHERE kind = 'world:stellar'",
        {says.NO_POSTING_CROSSES},
    ),
    "an account deleted": (
        "DELETE FROM ledger.accounts WHERE kind = 'world:stellar'",
        {
            says.NO_ORPHANS,
            says.ASSETS_SUM_TO_ZERO,
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
