"""The books: balanced, floored, append-only, each intent once; whatever races."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.errors import InsufficientFunds, ReserveNotFound
from offerhub.kernel.ids import new_id
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import AlreadyPosted, Entry, Hold, Leg
from offerhub.operations.proof import prove
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from support.outside import eventually

ONE = 10_000_000


def deposit(user_id: str, amount: int, key: str | None = None) -> Entry:
    legs = [Leg(DEFAULT_MARKETPLACE_ID, Kind.WORLD_MANUAL, -amount), Leg(user_id, Kind.AVAILABLE, amount)]
    return Entry(key or new_id("req"), "manual_credit", user_id, legs)


async def balance(database: Database, user_id: str) -> tuple[int, int]:
    kinds = [Kind.AVAILABLE, Kind.RESERVED]
    found = await database.run(lambda tx: ledger.balances(tx, DEFAULT_MARKETPLACE_ID, user_id, kinds), read_only=True)
    return found[Kind.AVAILABLE], found[Kind.RESERVED]


async def test_a_post_moves_the_money_and_tells_the_balances_around_it(
    database: Database, actor: Actor, user_id: str
) -> None:
    around = await database.run(lambda tx: ledger.post(tx, actor, deposit(user_id, 3 * ONE)))
    assert around[user_id, Kind.AVAILABLE] == (0, 3 * ONE)
    assert await balance(database, user_id) == (3 * ONE, 0)


async def test_a_business_key_posts_once(database: Database, actor: Actor, user_id: str) -> None:
    await database.run(lambda tx: ledger.post(tx, actor, deposit(user_id, ONE, "the-key")))
    with pytest.raises(AlreadyPosted):
        await database.run(lambda tx: ledger.post(tx, actor, deposit(user_id, ONE, "the-key")))
    assert await balance(database, user_id) == (ONE, 0)


async def test_overspending_is_refused_with_the_facts(database: Database, actor: Actor, user_id: str) -> None:
    await database.run(lambda tx: ledger.post(tx, actor, deposit(user_id, ONE)))
    held = Hold(user_id, "api", "r")
    with pytest.raises(InsufficientFunds) as refused:
        await database.run(lambda tx: ledger.hold(tx, actor, new_id("req"), held, 2 * ONE))
    assert refused.value.details == {"requested": "2.00", "available": "1.00", "currency": "USD"}
    assert await balance(database, user_id) == (ONE, 0)


async def test_sixty_four_spenders_share_what_is_there(database: Database, actor: Actor, user_id: str) -> None:
    await database.run(lambda tx: ledger.post(tx, actor, deposit(user_id, 10 * ONE)))

    async def spend(number: int) -> bool:
        held = Hold(user_id, "order", f"order-{number}")
        try:
            await database.run(lambda tx: ledger.hold(tx, actor, f"{user_id}:{number}", held, ONE))
        except InsufficientFunds:
            return False
        return True

    won = await asyncio.gather(*(spend(number) for number in range(64)))
    assert sum(won) == 10
    assert await balance(database, user_id) == (0, 10 * ONE)
    assert (await prove(database)).holds


async def test_a_change_that_waits_for_another_counts_it(database: Database, actor: Actor, user_id: str) -> None:
    """Ten are there; while six are being held, six more are asked for, and wait for what becomes of the first."""
    await database.run(lambda tx: ledger.post(tx, actor, deposit(user_id, 10 * ONE)))
    held, may_commit = asyncio.Event(), asyncio.Event()

    async def hold(tx: Tx, number: int) -> None:
        held_for = Hold(user_id, "order", f"order-{number}")
        await ledger.hold(tx, actor, f"{user_id}:{number}", held_for, 6 * ONE)

    async def first(tx: Tx) -> None:
        await hold(tx, 1)
        held.set()
        await may_commit.wait()

    one = asyncio.create_task(database.run(first))
    await held.wait()
    two = asyncio.create_task(database.run(lambda tx: hold(tx, 2)))
    waiting = """
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    await eventually(lambda: database.run(lambda tx: tx.value(waiting), read_only=True), lambda count: count > 0)
    may_commit.set()
    await one
    with pytest.raises(InsufficientFunds):
        await two
    assert await balance(database, user_id) == (4 * ONE, 6 * ONE)


async def test_transfers_in_both_directions_never_deadlock(database: Database, actor: Actor, user_id: str) -> None:
    other = f"{user_id}-other"
    for owner in (user_id, other):
        await database.run(lambda tx, owner=owner: ledger.post(tx, actor, deposit(owner, 100 * ONE)))

    async def transfer(payer: str, payee: str) -> None:
        legs = [Leg(payer, Kind.AVAILABLE, -ONE), Leg(payee, Kind.AVAILABLE, ONE)]
        entry = Entry(new_id("req"), "transfer", payer, legs)
        # Without the repetition that would hide a deadlock.
        await database._once("BEGIN", lambda tx: ledger.post(tx, actor, entry))

    pairs = [(user_id, other), (other, user_id)] * 50
    await asyncio.gather(*(transfer(payer, payee) for payer, payee in pairs))
    assert await balance(database, user_id) == (100 * ONE, 0)
    assert await balance(database, other) == (100 * ONE, 0)


async def test_a_hold_gives_back_no_more_than_its_reference_took(
    database: Database, actor: Actor, user_id: str
) -> None:
    await database.run(lambda tx: ledger.post(tx, actor, deposit(user_id, 10 * ONE)))
    mine, other = Hold(user_id, "api", "mine"), Hold(user_id, "order", "mine")
    await database.run(lambda tx: ledger.hold(tx, actor, new_id("req"), mine, 4 * ONE))
    await database.run(lambda tx: ledger.hold(tx, actor, new_id("req"), other, 5 * ONE))
    with pytest.raises(ReserveNotFound) as refused:
        await database.run(lambda tx: ledger.void(tx, actor, new_id("req"), mine, 5 * ONE))
    assert refused.value.details["reserved"] == "4.00"
    await database.run(lambda tx: ledger.void(tx, actor, new_id("req"), mine, 4 * ONE))
    assert await balance(database, user_id) == (5 * ONE, 5 * ONE)


async def test_holding_and_giving_back_at_once_never_deadlock(database: Database, actor: Actor, user_id: str) -> None:
    await database.run(lambda tx: ledger.post(tx, actor, deposit(user_id, 100 * ONE)))
    held = Hold(user_id, "api", "job")
    await database.run(lambda tx: ledger.hold(tx, actor, new_id("req"), held, 50 * ONE))
    runs: list[None] = []

    async def change(use_case: Callable[..., Awaitable[object]]) -> None:
        async def counted(tx: Tx) -> None:
            runs.append(None)
            await use_case(tx, actor, new_id("req"), held, ONE)

        await database.run(counted)

    await asyncio.gather(*(change(use_case) for use_case in [ledger.hold, ledger.void] * 25))
    assert len(runs) == 50, "nothing had to be run again"
    assert await balance(database, user_id) == (50 * ONE, 50 * ONE)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ledger.postings SET amount = amount + 1",
        "DELETE FROM ledger.postings",
        "TRUNCATE ledger.postings",
        "UPDATE ledger.transactions SET reason = 'x'",
        "DELETE FROM ledger.transactions",
        "DELETE FROM ledger.accounts",
        "UPDATE events SET type = 'x'",
        "DELETE FROM audit_entries",
    ],
)
async def test_history_cannot_be_changed(database: Database, actor: Actor, user_id: str, sql: str) -> None:
    async def everything(tx: Tx) -> None:
        await ledger.post(tx, actor, deposit(user_id, ONE))
        await tx.execute(
            "SELECT journal($1, $2, $3, $4, $5)",
            DEFAULT_MARKETPLACE_ID,
            actor.for_audit(),
            [
                {
                    "id": new_id("evt"),
                    "type": "t",
                    "aggregate_type": "User",
                    "aggregate_id": user_id,
                    "payload": {},
                    "metadata": {},
                }
            ],
            [
                {
                    "id": new_id("aud"),
                    "action": "A",
                    "resource_type": "User",
                    "resource_id": user_id,
                    "result": "SUCCESS",
                }
            ],
            [],
        )

    await database.run(everything)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await database.run(lambda tx: tx.execute(sql))
    assert refused.value.sqlstate in {"OH004", "0A000"}


async def test_postings_written_by_hand_must_balance(database: Database, actor: Actor, user_id: str) -> None:
    await database.run(lambda tx: ledger.post(tx, actor, deposit(user_id, ONE)))
    with pytest.raises(asyncpg.PostgresError) as refused:
        await database.run(
            lambda tx: tx.execute(
                "INSERT INTO ledger.postings (transaction_id, position, account_id, amount) "
                "SELECT max(transaction_id), 9, max(account_id), 5 FROM ledger.postings"
            )
        )
    assert refused.value.sqlstate == "OH002"


async def test_a_balance_cannot_be_set_below_zero_by_hand(database: Database, actor: Actor, user_id: str) -> None:
    await database.run(lambda tx: ledger.post(tx, actor, deposit(user_id, ONE)))
    with pytest.raises(asyncpg.CheckViolationError):
        await database.run(lambda tx: tx.execute("UPDATE ledger.accounts SET balance = -1 WHERE owner = $1", user_id))
