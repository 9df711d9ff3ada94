"""I10: an audit entry that is edited, removed, moved or slipped in is found (more in tests/audit)."""

import pytest
import sentences as says
from stand import Stand

REFUSED = {
    "an entry edited": (
        "UPDATE audit_entries SET actor_id = 'x'",
        "append_only",
    ),
    "an entry removed": (
        "DELETE FROM audit_entries",
        "append_only",
    ),
    "all entries removed": (
        "TRUNCATE audit_entries",
        "append_only_all",
    ),
    "a link edited": (
        "UPDATE audit_chain SET hash = sha256('x')",
        "append_only",
    ),
    "all links removed": (
        "TRUNCATE audit_chain",
        "append_only_all",
    ),
    "a seal removed": (
        "DELETE FROM audit_seals",
        "append_only",
    ),
    "an entry in two links": (
        "INSERT INTO audit_chain SELECT 1000, entry_id, hash FROM audit_chain LIMIT 1",
        "audit_chain_entry_id_key",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "an entry edited": (
        "UPDATE audit_entries SET actor_id = 'somebody else' WHERE position = 3",
        {says.LINKS_FOLLOW},
    ),
    "an entry removed": (
        "DELETE FROM audit_entries WHERE position = 3",
        {says.LINKS_FOLLOW},
    ),
    "a link forged": (
        "UPDATE audit_chain SET hash = sha256('x') WHERE sequence = 3",
        {says.LINKS_FOLLOW},
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
