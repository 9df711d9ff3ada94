"""I7: an outcome that is not known stays unknown until there is evidence; money is held meanwhile."""

import pytest
import sentences as says
from history import SAGA, WAITING
from stand import Stand

REFUSED = {
    "a step settled without an outcome": (
        f"UPDATE saga_steps SET status = 'SETTLED' WHERE saga_id = '{WAITING}'",
        "ends_with_an_outcome",
    ),
    "a step refused without an outcome": (
        f"UPDATE saga_steps SET status = 'REFUSED' WHERE saga_id = '{WAITING}'",
        "ends_with_an_outcome",
    ),
    "a step that was in doubt planned anew": (
        f"UPDATE saga_steps SET status = 'PLANNED' WHERE saga_id = '{WAITING}'",
        "OH003",
    ),
    "a saga ended with a step in doubt": (
        f"UPDATE sagas SET status = 'REFUSED', refusal = '{{}}' WHERE id = '{WAITING}'",
        "no_end_in_doubt",
    ),
    "an envelope failed without a ledger": (
        f"""
        INSERT INTO envelopes (hash, saga_id, position, source_account, sequence, xdr, valid_until) VALUES
            (repeat('b', 64), '{WAITING}', 0, 'G', 2, 'x', now());
        UPDATE envelopes SET status = 'SUBMITTED' WHERE sequence = 2;
        UPDATE envelopes SET status = 'FAILED' WHERE sequence = 2
        """,
        "ends_with_evidence",
    ),
    "an envelope given up without proof": (
        f"""
        INSERT INTO envelopes (hash, saga_id, position, source_account, sequence, xdr, valid_until) VALUES
            (repeat('b', 64), '{WAITING}', 0, 'G', 2, 'x', now());
        UPDATE envelopes SET status = 'EXPIRED' WHERE sequence = 2
        """,
        "ends_with_evidence",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a saga ended in doubt": (
        f"UPDATE saga_steps SET status = 'UNKNOWN', outcome = NULL WHERE saga_id = '{SAGA}'",
        {says.NO_END_IN_DOUBT},
    ),
    "evidence removed": (
        f"""
        ALTER TABLE saga_steps DROP CONSTRAINT ends_with_an_outcome;
        UPDATE saga_steps SET outcome = NULL WHERE saga_id = '{SAGA}'
        """,
        {says.ENDS_HAVE_EVIDENCE},
    ),
    "an envelope's ledger removed": (
        """
        ALTER TABLE envelopes DROP CONSTRAINT ends_with_evidence;
        UPDATE envelopes SET ledger = NULL
        """,
        {says.ENDS_HAVE_EVIDENCE},
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
