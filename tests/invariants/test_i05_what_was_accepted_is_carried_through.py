"""I5: everything that was accepted has somebody who carries it on, until it ends."""

import pytest
import sentences as says
from history import ESCROW, WAITING
from stand import Stand

REFUSED = {
    "a saga that is never due": (
        f"UPDATE sagas SET next_attempt_at = 'infinity' WHERE id = '{WAITING}'",
        "comes_due",
    ),
    "a lease without an end": (
        f"UPDATE sagas SET lease_until = 'infinity' WHERE id = '{WAITING}'",
        "comes_due",
    ),
    "a job that is never due": (
        """
        INSERT INTO outbox (queue, name, payload, due_at) VALUES ('sagas', 'drive', '{}', 'infinity')
        """,
        "comes_due",
    ),
    "a saga removed": (
        "DELETE FROM sagas",
        "stays",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a saga that has vanished": (
        f"DELETE FROM sagas WHERE id = '{WAITING}'",
        {says.CARRIED_ON},
    ),
    "an escrow on its way that nothing carries": (
        f"""
        UPDATE orders SET status = 'ESCROW_CREATING';
        INSERT INTO escrows (id, marketplace_id, order_id, amount, platform_fee_bps, roles) SELECT
            '{ESCROW}', marketplace_id, id, amount, 0, '{{}}' FROM orders
        """,
        {says.CARRIED_ON},
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
