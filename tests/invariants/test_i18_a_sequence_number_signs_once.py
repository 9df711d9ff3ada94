"""I18: no sequence number is in two envelopes, and what was signed is what is stored."""

import pytest
import sentences as says
from history import SAGA, WAITING
from stand import Stand

REFUSED = {
    "a sequence number used twice": (
        f"""
        INSERT INTO envelopes (hash, saga_id, position, source_account, sequence, xdr, valid_until) VALUES
            (repeat('b', 64), '{WAITING}', 0, 'G', 1, 'x', now())
        """,
        "one_envelope_per_sequence",
    ),
    "two open envelopes of a step": (
        f"""
        INSERT INTO envelopes (hash, saga_id, position, source_account, sequence, xdr, valid_until) SELECT
            repeat(n::text, 64), '{WAITING}', 0, 'G', n, 'x', now() FROM generate_series(2, 3) n
        """,
        "one_open_envelope_per_step",
    ),
    "other bytes than were signed": (
        "UPDATE envelopes SET xdr = 'y'",
        "stays_itself",
    ),
    "another sequence number": (
        "UPDATE envelopes SET sequence = 2",
        "stays_itself",
    ),
    "an envelope removed": (
        "DELETE FROM envelopes",
        "envelopes_stay",
    ),
    "all envelopes removed": (
        "TRUNCATE envelopes CASCADE",
        "append_only_all",
    ),
    "a fee bump changed": (
        """
        INSERT INTO fee_bumps (hash, inner_hash, fee_source, bid, xdr) VALUES (repeat('c', 64), repeat('a',
            64), 'G' || repeat('A', 55), 100, 'x');
        UPDATE fee_bumps SET xdr = 'y'
        """,
        "append_only",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a sequence number used twice": (
        f"""
        DROP INDEX one_envelope_per_sequence;
        INSERT INTO envelopes (hash, saga_id, position, source_account, sequence, xdr, valid_until, status,
            ledger, result) SELECT repeat('b', 64), '{SAGA}', 0, 'G', 1, 'x', now(), 'FAILED', 1, '{{}}'
        """,
        {says.SEQUENCES_ARE_USED_ONCE},
    ),
    "an envelope's success taken back": (
        "UPDATE envelopes SET status = 'FAILED'",
        {says.STEPS_HAVE_ENVELOPES},
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
