"""Every state machine is the same table in the code and in the database, and the database holds to it."""

from pathlib import Path

import asyncpg
import pytest

import offerhub
from offerhub.disputes.states import DISPUTE
from offerhub.edge.openapi_states import MACHINES as SEEN
from offerhub.escrows.states import ESCROW, MILESTONE_PAYOUT
from offerhub.findings.states import FINDING
from offerhub.kernel.states import Machine, Told, machine
from offerhub.orders.states import MILESTONE, ORDER
from offerhub.reconciliation.states import RUN
from offerhub.runtime.database import Database
from offerhub.sagas.model import ENVELOPE, SAGA, STEP
from offerhub.topups.states import TOPUP
from offerhub.users.states import USER
from offerhub.wallets.states import WALLET
from offerhub.webhook_endpoints.states import WEBHOOK_DELIVERY, WEBHOOK_ENDPOINT
from offerhub.webhooks.states import WEBHOOK_EVENT
from offerhub.withdrawals.states import REFUND, WITHDRAWAL

MACHINES = (
    USER,
    WALLET,
    ORDER,
    MILESTONE,
    ESCROW,
    MILESTONE_PAYOUT,
    DISPUTE,
    WITHDRAWAL,
    REFUND,
    TOPUP,
    WEBHOOK_EVENT,
    WEBHOOK_ENDPOINT,
    WEBHOOK_DELIVERY,
    SAGA,
    STEP,
    ENVELOPE,
    RUN,
    FINDING,
)


async def test_the_database_knows_exactly_the_moves_of_the_code(database_url: str) -> None:
    database = await Database.connect(database_url)
    try:
        rows = await database.run(
            lambda tx: tx.rows("SELECT machine, source, target FROM state_moves"), read_only=True
        )
    finally:
        await database.close()
    in_code = {row for one in MACHINES for row in one.rows()}
    assert {(row["machine"], row["source"], row["target"]) for row in rows} == in_code


async def test_every_status_column_is_guarded(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT event_object_table AS name FROM information_schema.triggers WHERE trigger_name = 'states'"
        )
    finally:
        await connection.close()
    assert {f"{row['name']}.status" for row in rows} == {one.column for one in MACHINES}


@pytest.mark.parametrize("one", MACHINES, ids=lambda one: one.name)
async def test_the_guard_refuses_every_move_that_the_table_lacks(one: Machine, database_url: str) -> None:
    """All pairs of states, against the very trigger function, on a table that looks like the real one."""
    connection = await asyncpg.connect(database_url)
    table = one.column.split(".")[0]
    try:
        await connection.execute(
            f"CREATE TEMP TABLE {table} (status text, updated_at timestamptz);"
            f"CREATE TRIGGER states BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION public.guard_state()"
        )
        for source in one.states:
            for target in one.states - {source}:
                await connection.execute(f"TRUNCATE {table}")
                await connection.execute(f"INSERT INTO {table} VALUES ($1)", source)
                try:
                    await connection.execute(f"UPDATE {table} SET status = $1", target)
                    moved = True
                except asyncpg.PostgresError as error:
                    assert error.sqlstate == "OH003"
                    moved = False
                assert moved == one.allows(source, target), (source, target)
    finally:
        await connection.close()


def test_every_state_that_a_client_sees_is_explained() -> None:
    seen = {one.name: one for one in MACHINES if one not in (WEBHOOK_EVENT, RUN, REFUND, SAGA, STEP, ENVELOPE)}
    assert {one.name for one in SEEN} == seen.keys()
    for one in seen.values():
        assert set(one.told) == one.states
        assert all(told.meaning.strip() for told in one.told.values())


def test_every_event_that_tells_of_a_state_is_written_somewhere() -> None:
    slices = Path(offerhub.__file__).parent
    source = "".join(file.read_text(encoding="utf-8") for file in slices.rglob("*.py") if file.stem != "states")
    for one in MACHINES:
        for event in (event for told in one.told.values() for event in told.events):
            group, _, name = event.partition(".")
            # Some are put together: f"escrow.{end.lower()}".
            assembled = f'f"{group}.{{' in source and (f'"{name}"' in source or f'"{name.upper()}"' in source)
            assert f'"{event}"' in source or assembled, event


def test_a_machine_that_explains_its_states_leaves_none_out() -> None:
    moves = {"A": {"B"}, "B": set[str]()}
    with pytest.raises(ValueError, match="explained"):
        machine("silent", "x.status", "A", moves, {"A": Told("Begun.", "you")})
    with pytest.raises(ValueError, match="A must say how it is left"):
        machine("stuck", "x.status", "A", moves, {"A": Told("Begun."), "B": Told("Done.")})


def test_a_machine_names_every_state_it_reaches() -> None:
    with pytest.raises(ValueError, match="every state"):
        machine("broken", "x.status", "A", {"A": {"B"}})


def test_terminal_states_are_left_by_nothing() -> None:
    assert ORDER.terminal == {"CLOSED"}
    assert WITHDRAWAL.terminal == {"WITHDRAWAL_COMPLETED", "WITHDRAWAL_FAILED", "WITHDRAWAL_CANCELED"}
