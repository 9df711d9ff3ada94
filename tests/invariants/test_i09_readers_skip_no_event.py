"""I9: all readers find the events in one order, and nothing appears behind a cursor (more in tests/events)."""

import pytest
import sentences as says
from history import MARKETPLACE
from stand import Stand

REFUSED = {
    "a place that follows no other": (
        f"""
        INSERT INTO event_log (place, event, marketplace_id, at) SELECT 999, 999999, '{MARKETPLACE}', now()
        """,
        "in_order",
    ),
    "a place without an event": (
        f"""
        INSERT INTO event_log (place, event, marketplace_id, at) SELECT max(place) + 1, 999999,
            '{MARKETPLACE}', now() FROM event_log
        """,
        "in_order",
    ),
    "an event in two places": (
        f"""
        INSERT INTO event_log (place, event, marketplace_id, at) SELECT max(place) + 1, min(event),
            '{MARKETPLACE}', now() FROM event_log
        """,
        "event_log_event_key",
    ),
    "a place given away": (
        "UPDATE event_log SET place = place + 100",
        "append_only",
    ),
    "a place removed": (
        "DELETE FROM event_log",
        "append_only",
    ),
    "the log removed": (
        "TRUNCATE event_log",
        "append_only_all",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a place in the log lost": (
        "DELETE FROM event_log WHERE place = 1",
        {says.PLACES_HAVE_NO_GAP},
    ),
    "the last place lost": (
        "DELETE FROM event_log WHERE place = 5",
        {says.PLACES_HAVE_NO_GAP},
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
