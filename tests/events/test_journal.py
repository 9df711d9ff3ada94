"""The journal: events are numbered without gaps, whatever writes them at the same moment."""

import asyncio

import asyncpg
import pytest

from offerhub.events.journal import AuditEntry, Event, Job, record
from offerhub.kernel.ids import new_id
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx


async def test_writers_of_one_aggregate_never_take_the_same_number(database: Database, actor: Actor) -> None:
    """A deposit locks a user's available balance, a funding its reserved one: both write the balance's events."""
    user_id = new_id("usr")
    event = Event("balance.credited", "Balance", user_id, {}, user_id)
    await asyncio.gather(*(database.run(lambda tx: record(tx, actor, events=[event, event])) for _ in range(40)))
    rows = await database.run(
        lambda tx: tx.rows("SELECT sequence FROM events WHERE aggregate_id = $1 ORDER BY position", user_id)
    )
    assert sorted(row["sequence"] for row in rows) == list(range(1, 81))


async def test_what_is_rolled_back_was_never_written(database: Database, actor: Actor) -> None:
    order_id = new_id("ord")

    async def fail(tx: Tx) -> None:
        await record(tx, actor, events=[Event("order.created", "Order", order_id, {})])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await database.run(fail)
    assert not await database.run(lambda tx: tx.rows("SELECT FROM events WHERE aggregate_id = $1", order_id))
    assert not await database.run(lambda tx: tx.rows("SELECT FROM audit_entries WHERE resource_id = $1", order_id))


class KilledError(BaseException):
    """No program can catch SIGKILL."""


class DiesAfterTheCommit:
    """A process that is killed in the moment in which PostgreSQL has committed."""

    def before(self, sql: str) -> None:
        """It lives until then."""

    def after(self, sql: str) -> None:
        if sql == "COMMIT":
            raise KilledError


async def test_a_process_that_dies_right_after_a_commit_has_told_everything(database: Database, actor: Actor) -> None:
    user_id = new_id("usr")

    async def change(tx: Tx) -> None:
        await tx.execute("INSERT INTO leases (name, holder, held_until) VALUES ($1, 'test', now())", user_id)
        told = Event("user.created", "User", user_id, {"type": "BOTH"}, user_id)
        await record(tx, actor, events=[told], jobs=[Job("sagas", "drive", {"sagaId": user_id})])

    database.hook = DiesAfterTheCommit()
    with pytest.raises(KilledError):
        await database.run(change)
    database.hook = None
    left = """
        SELECT (SELECT count(*) FROM leases WHERE name = $1), (SELECT count(*) FROM events WHERE aggregate_id = $1),
            (SELECT count(*) FROM audit_entries WHERE resource_id = $1),
            (SELECT count(*) FROM outbox WHERE payload ->> 'sagaId' = $1)
    """
    assert tuple(await database.run(lambda tx: tx.one(left, user_id))) == (1, 1, 1, 1)


async def test_a_change_whose_audit_entry_cannot_be_written_is_not_made(database: Database, actor: Actor) -> None:
    user_id = new_id("usr")
    unwritable = AuditEntry("NOTED", "User", user_id, result="NONSENSE")  # type: ignore[arg-type]

    async def change(tx: Tx) -> None:
        await tx.execute("INSERT INTO leases (name, holder, held_until) VALUES ($1, 'test', now())", user_id)
        await record(tx, actor, events=[Event("user.created", "User", user_id, {})], audit=[unwritable])

    with pytest.raises(asyncpg.CheckViolationError):
        await database.run(change)
    assert not await database.run(lambda tx: tx.rows("SELECT FROM leases WHERE name = $1", user_id))
    assert not await database.run(lambda tx: tx.rows("SELECT FROM events WHERE aggregate_id = $1", user_id))


async def test_every_event_leaves_an_audit_entry_that_names_its_cause(database: Database, actor: Actor) -> None:
    user_id = new_id("usr")
    await database.run(
        lambda tx: record(
            tx,
            actor,
            events=[Event("user.created", "User", user_id, {"email": "ann@example.com", "type": "BOTH"}, user_id)],
            audit=[AuditEntry("NOTED", "User", user_id, after={"apiKey": "ohk_live_key_x"})],
        )
    )
    rows = await database.run(
        lambda tx: tx.rows("SELECT * FROM audit_entries WHERE resource_id = $1 ORDER BY action", user_id)
    )
    assert [row["action"] for row in rows] == ["NOTED", "user.created"]
    assert {row["correlation_id"] for row in rows} == {"the-request"}
    assert rows[1]["payload_after"] == {"email": "a***@example.com", "type": "BOTH"}
    assert "ohk_live" not in str(rows[0]["payload_after"])


async def test_a_job_waits_in_the_outbox_until_it_is_due(database: Database, actor: Actor) -> None:
    job = Job("sagas", "drive", {"sagaId": new_id("sga")}, delay_seconds=3600)
    await database.run(lambda tx: record(tx, actor, jobs=[job]))
    row = await database.run(
        lambda tx: tx.row(
            "SELECT due_at > clock_timestamp() + interval '59 minutes' AS later FROM outbox WHERE payload = $1",
            dict(job.payload),
        )
    )
    assert row is not None
    assert row["later"]
