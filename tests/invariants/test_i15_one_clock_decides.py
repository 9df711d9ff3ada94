"""I15: the database's clock decides order, leases and expiry; machines may differ by hours."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sentences as says
from history import WAITING
from stand import Stand, Undone

from offerhub.kernel.clock import ManualClock, to_wire
from offerhub.runtime.database import Tx
from offerhub.sagas import store as sagas

REFUSED = {
    "a moment given twice": (
        """
        INSERT INTO event_log (place, event, marketplace_id, at) SELECT l.place + 1, 1, l.marketplace_id,
            l.at FROM event_log l ORDER BY l.place DESC LIMIT 1
        """,
        "event_log_event_key",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a moment put back": (
        "UPDATE event_log SET at = at - interval '1 hour' WHERE place = 3",
        {says.MOMENTS_RISE},
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


async def test_no_column_knows_another_time_than_utc(stand: Stand) -> None:
    rows = await stand.database.run(
        lambda tx: tx.rows(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema IN ('public', 'ledger') AND data_type = 'timestamp without time zone'"
        )
    )
    assert rows == []


async def test_neither_books_nor_events_take_a_time_from_who_writes_them(stand: Stand) -> None:
    rows = await stand.database.run(
        lambda tx: tx.rows(
            "SELECT pg_get_function_arguments(oid) AS takes FROM pg_proc WHERE proname IN ('post', 'journal')"
        )
    )
    assert len(rows) == 2
    assert not any("timestamp" in row["takes"] or "date" in row["takes"] for row in rows)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_worker_whose_clock_is_wrong_takes_nothing_from_another(stand: Stand, hours: int) -> None:
    """Two sweepers on one saga: the one with the wrong clock neither finds it early nor takes it over."""
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC) + timedelta(hours=hours)  # the night of a change of the clocks
    wrong = ManualClock(moment)

    async def compete(tx: Tx) -> None:
        mine = await sagas.claim(tx, WAITING, ["withdrawal.pay"], "right", 6)
        theirs = await sagas.claim(tx, WAITING, ["withdrawal.pay"], f"wrong, at {wrong.now()}", 6)
        due = await sagas.due(tx, ["withdrawal.pay"], 10)
        raise Undone(mine is not None, theirs is not None, due)

    with pytest.raises(Undone) as seen:
        await stand.database.run(compete)
    assert seen.value.args == (True, False, [])


def test_the_wire_knows_utc_only_whatever_the_moment() -> None:
    berlin = timezone(timedelta(hours=2))
    assert to_wire(datetime(2026, 3, 29, 3, 30, tzinfo=berlin)) == "2026-03-29T01:30:00.000Z"
    assert to_wire(datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)) == "2024-02-29T23:59:59.999Z"
