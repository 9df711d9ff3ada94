"""I8: an event exists exactly if its change does; an aggregate's events are numbered without a gap."""

import pytest
import sentences as says
from history import MARKETPLACE, ORDER
from stand import Stand

REFUSED = {
    "a number left out": (
        f"""
        INSERT INTO events (id, marketplace_id, aggregate_type, aggregate_id, sequence, type, payload,
            metadata) VALUES ('evt_x', '{MARKETPLACE}', 'Order', '{ORDER}', 9, 't', '{{}}', '{{}}')
        """,
        "in_order",
    ),
    "a number used twice": (
        f"""
        INSERT INTO events (id, marketplace_id, aggregate_type, aggregate_id, sequence, type, payload,
            metadata) VALUES ('evt_x', '{MARKETPLACE}', 'Order', '{ORDER}', 1, 't', '{{}}', '{{}}')
        """,
        "sequences_are_gap_free",
    ),
    "an event that nobody will read": (
        f"""
        INSERT INTO events (id, marketplace_id, aggregate_type, aggregate_id, sequence, type, payload,
            metadata) VALUES ('evt_x', '{MARKETPLACE}', 'Order', '{ORDER}', 3, 't', '{{}}', '{{}}')
        """,
        "in_order",
    ),
    "an event changed": (
        "UPDATE events SET type = 'x'",
        "append_only",
    ),
    "an event removed": (
        "DELETE FROM events",
        "append_only",
    ),
    "all events removed": (
        "TRUNCATE events CASCADE",
        "append_only_all",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "an event removed": (
        """
        DELETE FROM events WHERE type = 'order.created';
        DELETE FROM event_log l WHERE NOT EXISTS (SELECT FROM events e WHERE e.position = l.event);
        UPDATE event_log SET place = place - 1
        """,
        {
            says.EVENTS_ARE_NUMBERED,
            says.PLACES_HAVE_NO_GAP,
        },
    ),
    "an order closed in silence": (
        "UPDATE orders SET status = 'CLOSED', final_status = 'RELEASED', closed_at = now()",
        {
            says.ENDS_HAVE_EVENTS,
            says.ORDERS_HOLD,
            says.SAME_STORY,
            says.STATES_ARE_TOLD,
        },
    ),
    "a top-up canceled in silence": (
        "UPDATE topups SET status = 'TOPUP_CANCELED', net_amount = NULL, fee = NULL",
        {
            says.TOPUPS_HAVE_EVENTS,
            says.TOPUPS_ARE_POSTED,
            says.STATES_ARE_TOLD,
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
