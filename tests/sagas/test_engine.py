"""The engine: one driver at a time, every outcome settled as it should be, nothing lost with a driver."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.errors import InvalidState, ProviderUnavailable, Refusal
from offerhub.kernel.ids import new_id
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.urgency import Urgency, current
from offerhub.sagas import store
from offerhub.sagas.engine import (
    HAND_BACK_AFTER_SECONDS,
    UNAVAILABLE_ATTEMPTS_MAX,
    UNAVAILABLE_SECONDS,
    Engine,
    Running,
)
from offerhub.sagas.model import Facts, LeaseLost, NotYet, Outcome, Refused, Saga, Settled, Step, Unavailable, Unknown

ACTOR = system(DEFAULT_MARKETPLACE_ID, "test", "the-request")


class QuickClock:
    """Real time, but nobody sleeps for long."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now(self) -> Any:
        raise AssertionError("the engine does not ask for the date")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.005))


@dataclass
class ScriptedStep:
    """A step that answers from a list, then settles."""

    name: str
    answers: list[Outcome] = field(default_factory=list)
    attempts: int = 0
    settled: list[Facts] = field(default_factory=list)
    hold_up: asyncio.Event | None = None
    is_look: bool = False
    urgencies: list[Urgency] = field(default_factory=list)

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        self.attempts += 1
        self.urgencies.append(current())
        if self.hold_up is not None:
            await self.hold_up.wait()
        return self.answers.pop(0) if self.answers else Settled({"step": self.name})

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        self.settled.append(facts)


@dataclass
class ScriptedPlan:
    kind: str
    script: Sequence[ScriptedStep]
    succeeded: list[Sequence[Facts]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    on_success: Callable[[], None] = lambda: None

    def steps(self, saga: Saga) -> Sequence[Step]:
        return self.script

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        self.on_success()
        self.succeeded.append(facts)

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        self.refused.append(refusal)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def start(database: Database) -> AsyncIterator[Callable[[ScriptedPlan], Any]]:
    """Start a saga of a scripted plan; returns the engine and the saga's id."""
    engines: list[Engine] = []

    async def begin(plan: ScriptedPlan) -> tuple[Engine, str]:
        engine = Engine(database, QuickClock())
        engine.register([plan])
        engines.append(engine)
        return engine, await database.run(lambda tx: engine.start(tx, ACTOR, plan.kind, new_id("ord"), {"a": 1}))

    yield begin
    for engine in engines:
        await engine.stop()


async def saga_of(database: Database, saga_id: str) -> Saga:
    found = await database.run(lambda tx: store.get(tx, saga_id))
    assert found is not None
    return found


async def statuses(database: Database, saga_id: str) -> list[str]:
    return [row["status"] for row in await database.run(lambda tx: store.steps(tx, saga_id))]


async def test_steps_run_in_order_and_the_plan_ends_with_all_their_facts(database: Database, start: Any) -> None:
    plan = ScriptedPlan(new_id("req"), [ScriptedStep("one"), ScriptedStep("two")])
    engine, saga_id = await start(plan)
    await engine.wait(saga_id, 5)
    assert plan.succeeded == [[{"step": "one"}, {"step": "two"}]]
    assert (await saga_of(database, saga_id)).status == "SUCCEEDED"
    assert await statuses(database, saga_id) == ["SETTLED", "SETTLED"]


async def test_a_refusal_ends_the_saga_and_later_steps_are_never_tried(database: Database, start: Any) -> None:
    second = ScriptedStep("two")
    plan = ScriptedPlan(new_id("req"), [ScriptedStep("one", [Refused(InvalidState(orderId="x"))]), second])
    engine, saga_id = await start(plan)
    await engine.wait(saga_id, 5)
    assert [refusal.code for refusal in plan.refused] == ["INVALID_STATE"]
    assert second.attempts == 0
    revived = await database.run(lambda tx: engine.refusal(tx, saga_id))
    assert isinstance(revived, InvalidState)
    assert revived.details == {"orderId": "x"}


async def test_an_unknown_outcome_is_kept_as_a_state_until_there_is_evidence(database: Database, start: Any) -> None:
    seen: list[list[str]] = []
    step = ScriptedStep("pay", [Unknown("no answer"), Unknown("still none")])
    plan = ScriptedPlan(new_id("req"), [step])
    engine, saga_id = await start(plan)
    attempt = step.attempt

    async def watching(saga: Saga, position: int) -> Outcome:
        seen.append(await statuses(database, saga_id))
        return await attempt(saga, position)

    step.attempt = watching  # type: ignore[method-assign]
    await engine.wait(saga_id, 5)
    assert seen == [["ATTEMPTED"], ["UNKNOWN"], ["UNKNOWN"]]
    assert plan.refused == []
    assert await statuses(database, saga_id) == ["SETTLED"]


async def test_an_unreachable_provider_refuses_only_a_saga_that_has_done_nothing(
    database: Database, start: Any
) -> None:
    away = [Unavailable(ProviderUnavailable()) for _ in range(UNAVAILABLE_ATTEMPTS_MAX)]
    first = ScriptedPlan(new_id("req"), [ScriptedStep("one", list(away))])
    engine, saga_id = await start(first)
    await engine.wait(saga_id, 5)
    assert [refusal.code for refusal in first.refused] == ["PROVIDER_UNAVAILABLE"]

    looked = ScriptedPlan(new_id("req"), [ScriptedStep("look", is_look=True), ScriptedStep("two", list(away))])
    engine, saga_id = await start(looked)
    await engine.wait(saga_id, 5)
    assert [refusal.code for refusal in looked.refused] == ["PROVIDER_UNAVAILABLE"]

    later = ScriptedPlan(new_id("req"), [ScriptedStep("one"), ScriptedStep("two", away * 4)])
    engine, saga_id = await start(later)
    await engine.drive(saga_id)
    assert later.refused == []
    assert (await saga_of(database, saga_id)).status == "RUNNING"


def test_one_driver_makes_all_the_tries_before_giving_up() -> None:
    longest = 1.5 * UNAVAILABLE_SECONDS * 2 ** (UNAVAILABLE_ATTEMPTS_MAX - 2)
    assert longest < HAND_BACK_AFTER_SECONDS


async def test_a_subject_s_saga_is_driven_on_only_when_it_is_due_and_nobody_drives_it(
    database: Database, start: Any
) -> None:
    gate = asyncio.Event()
    step = ScriptedStep("one", hold_up=gate)
    engine, saga_id = await start(ScriptedPlan(new_id("req"), [step]))
    subject = (await saga_of(database, saga_id)).subject_id
    assert await engine.resume(subject) == Running(1, 1)
    while not step.attempts:
        await asyncio.sleep(0.01)
    assert await engine.resume(subject) == Running(1, 0), "it is being driven"
    assert await database.run(lambda tx: engine.is_carrying(tx, subject))
    gate.set()
    await engine.wait(saga_id, 5)
    assert await engine.resume(subject) == Running(0, 0)
    assert not await database.run(lambda tx: engine.is_carrying(tx, subject))
    assert step.attempts == 1


async def test_a_patient_step_outlasts_the_provider(database: Database, start: Any) -> None:
    away: list[Outcome] = [Unavailable(ProviderUnavailable(), patient=True)] * (UNAVAILABLE_ATTEMPTS_MAX - 1)
    plan = ScriptedPlan(new_id("req"), [ScriptedStep("one", away)])
    engine, saga_id = await start(plan)
    await engine.wait(saga_id, 5)
    assert len(plan.succeeded) == 1


async def test_what_a_saga_does_has_precedence_at_the_providers(start: Any) -> None:
    step = ScriptedStep("pay", [Unknown("no answer")])
    engine, saga_id = await start(ScriptedPlan(new_id("req"), [step]))
    await engine.wait(saga_id, 5)
    assert step.urgencies == [Urgency.CRITICAL] * 2
    assert current() is Urgency.ORDINARY


async def test_two_engines_never_drive_one_saga_at_once(database: Database, start: Any) -> None:
    gate = asyncio.Event()
    step = ScriptedStep("one", hold_up=gate)
    plan = ScriptedPlan(new_id("req"), [step])
    first, saga_id = await start(plan)
    second = Engine(database, QuickClock())
    second.register([plan])
    driving = asyncio.create_task(first.wait(saga_id, 5))
    while not step.attempts:
        await asyncio.sleep(0.01)
    await second.wait(saga_id, 0.2)
    assert step.attempts == 1
    gate.set()
    await driving
    await second.wait(saga_id, 5)
    assert step.attempts == 1
    assert len(plan.succeeded) == 1


async def test_a_driver_that_slept_past_its_lease_changes_nothing(database: Database, start: Any) -> None:
    gate = asyncio.Event()
    plan = ScriptedPlan(new_id("req"), [ScriptedStep("one", hold_up=gate)])
    sleeper, saga_id = await start(plan)
    driving = asyncio.create_task(sleeper.wait(saga_id, 0.5))
    while not plan.script[0].attempts:
        await asyncio.sleep(0.01)
    await database.run(lambda tx: tx.execute("UPDATE sagas SET lease_holder = 'another' WHERE id = $1", saga_id))
    gate.set()
    await driving
    assert plan.succeeded == []
    assert await statuses(database, saga_id) == ["ATTEMPTED"]


async def test_who_has_lost_a_lease_never_finds_it_again(database: Database, start: Any) -> None:
    """Not even when nobody drives the saga just then: somebody may have done so in between, and written things."""
    plan = ScriptedPlan(new_id("req"), [ScriptedStep("one")])
    _, saga_id = await start(plan)

    async def claim(driver: str) -> Saga | None:
        return await database.run(lambda tx: store.claim(tx, saga_id, [plan.kind], driver, 5))

    first = await claim("process:1")
    assert first is not None
    assert await claim("process:2") is None, "it is being driven"
    sql = "UPDATE sagas SET lease_until = '-infinity' WHERE id = $1"
    await database.run(lambda tx: tx.execute(sql, saga_id))
    assert await database.run(lambda tx: store.renew(tx, saga_id, first.driver, 5)), "nobody else has had it"
    await database.run(lambda tx: tx.execute(sql, saga_id))
    second = await claim("process:2")
    assert second is not None
    await database.run(lambda tx: store.hand_back(tx, saga_id, second.driver, 0))
    for gone in (first, second):
        assert not await database.run(lambda tx, gone=gone: store.renew(tx, saga_id, gone.driver, 5))
        with pytest.raises(LeaseLost):
            await database.run(lambda tx, gone=gone: store.fence(tx, gone))


async def test_a_saga_whose_end_fails_goes_on_where_it_was(database: Database, start: Any) -> None:
    """A bug in the last transaction: nothing of it stays, and the next driver repeats only that."""
    failures = [True]

    def fail_once() -> None:
        if failures.pop() if failures else False:
            raise RuntimeError("a bug")

    one, two = ScriptedStep("one"), ScriptedStep("two")
    plan = ScriptedPlan(new_id("req"), [one, two], on_success=fail_once)
    engine, saga_id = await start(plan)
    await engine.drive(saga_id)
    assert await statuses(database, saga_id) == ["SETTLED", "ATTEMPTED"]
    await database.run(lambda tx: tx.execute("UPDATE sagas SET next_attempt_at = now() WHERE id = $1", saga_id))
    assert await engine.sweep() >= 1
    await engine.wait(saga_id, 5)
    assert (one.attempts, two.attempts) == (1, 2)
    assert len(plan.succeeded) == 1


async def test_waiting_for_a_busy_lane_is_no_attempt_that_counts(database: Database, start: Any) -> None:
    waits: list[Outcome] = [NotYet("busy")] * 10
    plan = ScriptedPlan(new_id("req"), [ScriptedStep("one", waits)])
    engine, saga_id = await start(plan)
    await engine.wait(saga_id, 5)
    assert len(plan.succeeded) == 1
    recorded = await database.run(lambda tx: store.steps(tx, saga_id))
    assert recorded[0]["attempts"] == 1


async def test_one_subject_runs_one_saga_of_a_kind(database: Database, start: Any) -> None:
    plan = ScriptedPlan(new_id("req"), [ScriptedStep("one")])
    engine, saga_id = await start(plan)
    subject = (await saga_of(database, saga_id)).subject_id
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.run(lambda tx: engine.start(tx, ACTOR, plan.kind, subject, {}))


async def test_a_saga_of_a_newer_program_is_left_to_it(database: Database, start: Any) -> None:
    """During a rolling upgrade an older process must not hold what only the newer one can drive."""
    plan = ScriptedPlan(new_id("req"), [ScriptedStep("one")])
    newer, saga_id = await start(plan)
    older = Engine(database, QuickClock())
    older.register([ScriptedPlan(new_id("req"), [])])
    await older.drive(saga_id)
    assert await older.sweep() == 0
    await newer.wait(saga_id, 5)
    assert len(plan.succeeded) == 1


class NoSaga:
    """A database in which there is no such saga. Each look but the first waits for `answer`."""

    def __init__(self) -> None:
        self.looks = 0
        self.answer = asyncio.Event()

    async def run(self, work: Any) -> None:
        self.looks += 1
        if self.looks > 1:
            await self.answer.wait()


async def test_a_drive_that_has_just_ended_is_none_to_wait_for() -> None:
    """Its saga may have become due since it last looked, so whoever asks in that moment drives anew."""
    database: Any = NoSaga()
    engine = Engine(database, QuickClock())
    first = asyncio.create_task(engine.drive("sga_1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (database.looks, first.done()) == (1, False), "it has ended, and nobody has been told yet"

    async def another() -> None:
        shared = asyncio.create_task(engine.drive("sga_1"))
        await asyncio.sleep(0)
        database.answer.set()
        await shared

    other = asyncio.create_task(another())
    await engine.drive("sga_1")
    assert database.looks == 2, "what was told before says nothing of now"
    await asyncio.gather(first, other)
    assert database.looks == 2, "the second drive is shared: the end of the first has not made it forgotten"
