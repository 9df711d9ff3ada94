"""The engine: drives sagas step by step, from wherever the last driver left them.

A saga is driven by whoever holds its lease: the request that began it, a worker with its job, or the sweeper that
finds it abandoned. Every effect of a step is written in a transaction that first checks the lease, so a driver
that slept past it changes nothing. What a crash leaves behind is resumed from the records, never from memory.
"""

import asyncio
import itertools
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from offerhub.errors import InternalError, Refusal, revive
from offerhub.events import journal
from offerhub.kernel.chance import jitter
from offerhub.kernel.clock import Clock, SystemClock
from offerhub.kernel.ids import new_id
from offerhub.runtime import spans
from offerhub.runtime.actor import Actor
from offerhub.runtime.cancellation import end, heed_cancellation
from offerhub.runtime.database import UNREACHABLE, Database, Tx
from offerhub.runtime.jobs import Priority
from offerhub.runtime.round_trips import beside
from offerhub.runtime.urgency import Urgency, working
from offerhub.sagas import store
from offerhub.sagas.model import (
    Facts,
    LeaseLost,
    NotYet,
    Outcome,
    Plan,
    Refused,
    Saga,
    Settled,
    Step,
    Unavailable,
    Unknown,
)

LEASE_SECONDS: Final = 6.0
"""How long a crashed driver keeps a saga from others; renewed at a third of it while the driver lives."""
UNAVAILABLE_ATTEMPTS_MAX: Final = 5
"""How often an unreachable provider is tried before a saga that has done nothing is refused; others never are."""
UNAVAILABLE_SECONDS: Final = 0.3
"""The first pause of those tries; the last one stays below HAND_BACK_AFTER_SECONDS, so one driver makes them all."""
DELAY_MAX_SECONDS: Final = 30.0
WAIT_MAX_SECONDS: Final = 0.5
"""The longest pause between two looks at a lane that another saga holds."""
HAND_BACK_AFTER_SECONDS: Final = 5.0
"""A longer wait is not slept in memory: the saga is handed back and picked up when it is due."""
SWEEP_BATCH: Final = 50
QUEUE: Final = "sagas"
JOB: Final = "drive"

log = structlog.get_logger("offerhub.sagas")


@dataclass(frozen=True, slots=True)
class Running:
    """How many sagas run for a subject, and how many of them nobody drove although they were due."""

    sagas: int
    resumed: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """A saga that begins: its row, the names of its steps, and the job that drives it."""

    saga: Saga
    steps: list[str]
    job: journal.Job

    def request(self) -> dict[str, Any]:
        """As `begin_saga` takes it."""
        saga = self.saga
        named = {"id": saga.id, "kind": saga.kind, "subject": saga.subject_id, "correlation": saga.correlation_id}
        return {**named, "input": dict(saga.input), "steps": self.steps}


class Engine:
    """Starts and drives sagas. One per process."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._plans: dict[str, Plan] = {}
        self._priorities: dict[str, Priority] = {}
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._process = f"{os.getpid()}:{secrets.token_hex(6)}"
        self._drives = itertools.count(1)
        self._stopping = False

    def register(self, plans: Iterable[Plan], priority: Priority = Priority.FIRST) -> None:
        """Make plans known, with the priority of their jobs: what moves money goes first.

        A saga of an unknown kind is left alone (a newer program's, during an upgrade).
        """
        for plan in plans:
            assert plan.kind not in self._plans
            self._plans[plan.kind] = plan
            self._priorities[plan.kind] = priority

    async def start(
        self,
        tx: Tx,
        actor: Actor,
        kind: str,
        subject_id: str,
        values: dict[str, Any],
        *,
        events: Sequence[journal.Event] = (),
        audit: Sequence[journal.AuditEntry] = (),
    ) -> str:
        """Record a saga in the caller's transaction; it is driven once that has committed.

        `values` is the saga's input as JSON. `events` and `audit` are what the start itself leaves in the journal.
        The database refuses a second running saga of one kind and subject.
        """
        began = self.beginning(actor, kind, subject_id, values)
        await store.insert(tx, began.saga, began.steps)
        await journal.record(tx, actor, events=events, audit=audit, jobs=[began.job])
        return began.saga.id

    def beginning(self, actor: Actor, kind: str, subject_id: str, values: dict[str, Any]) -> Beginning:
        """A saga to be recorded with what starts it, and the job that drives it."""
        saga = Saga(new_id("sga"), actor.marketplace_id, kind, subject_id, "RUNNING", values, actor.correlation_id)
        job = journal.Job(QUEUE, JOB, {"sagaId": saga.id}, priority=self._priorities[kind])
        return Beginning(saga, [step.name for step in self._plans[kind].steps(saga)], job)

    async def running(self, tx: Tx, kind: str, subject_id: str) -> str | None:
        """The id of the saga of this kind that runs for the subject, or None."""
        return await store.running(tx, kind, subject_id)

    async def is_carrying(self, tx: Tx, subject_id: str) -> bool:
        """True while a saga of any kind runs for the subject."""
        return bool(await store.running_of(tx, subject_id))

    async def tried_before(self, saga_id: str, position: int) -> bool:
        """True when an earlier attempt at this step may have had an effect that nobody has seen yet."""
        step = (await self._database.run(lambda tx: store.steps(tx, saga_id), read_only=True))[position]
        return step["status"] == "UNKNOWN" or int(step["attempts"]) > 1

    async def wait(self, saga_id: str, seconds: float) -> None:
        """Drive the saga, here or wherever it is being driven, until it ends or the time is up."""
        deadline = self._clock.monotonic() + seconds
        while (remaining := deadline - self._clock.monotonic()) > 0:
            await asyncio.wait([self._drive_task(saga_id)], timeout=remaining)
            saga = await self._database.run(lambda tx: store.get(tx, saga_id), read_only=True)
            if saga is None or saga.status != "RUNNING":
                return
            await self._clock.sleep(min(0.1, max(0.0, deadline - self._clock.monotonic())))

    async def refusal(self, tx: Tx, saga_id: str) -> Refusal | None:
        """Why the saga was refused, or None when it was not."""
        saga = await store.get(tx, saga_id)
        if saga is None or saga.refusal is None:
            return None
        return revive(saga.refusal["code"], saga.refusal["message"], saga.refusal["details"])

    async def is_terminal(self, tx: Tx, saga_id: str) -> bool:
        """True when the saga has ended, either way."""
        saga = await store.get(tx, saga_id)
        return saga is None or saga.status != "RUNNING"

    async def drive(self, saga_id: str) -> None:
        """Drive the saga as far as it goes; what the queue's job does. What is left over is the sweeper's."""
        await asyncio.wait([self._drive_task(saga_id)])

    async def sweep(self) -> int:
        """Drive every saga that is due and that nobody drives; returns how many were found."""
        found = await self._database.run(lambda tx: store.due(tx, list(self._plans), SWEEP_BATCH), read_only=True)
        for saga_id in found:
            self._drive_task(saga_id)
        return len(found)

    async def resume(self, subject_id: str) -> Running:
        """Drive the subject's sagas that are due, and tell how many are running and how many of them were due."""
        found = await self._database.run(lambda tx: store.running_of(tx, subject_id), read_only=True)
        due = [saga_id for saga_id, is_due in found.items() if is_due]
        for saga_id in due:
            self._drive_task(saga_id)
        return Running(len(found), len(due))

    async def sweep_forever(self, interval_seconds: float = 1.0) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.sweep()
            except UNREACHABLE as error:
                log.warning("sweep_failed", error=str(error))
            heed_cancellation()
            await self._clock.sleep(interval_seconds)

    async def stop(self) -> None:
        """Stop driving; every lease is handed back, so that another process goes on at once."""
        self._stopping = True
        await end(*self._driving.values())

    def _drive_task(self, saga_id: str) -> asyncio.Task[None]:
        task = self._driving.get(saga_id)
        # One that has just ended looks at nothing any more, and may not be forgotten yet.
        if task is None or task.done():
            task = asyncio.create_task(self._drive(saga_id), name=f"saga {saga_id}", context=beside())
            self._driving[saga_id] = task
            task.add_done_callback(partial(self._forget, saga_id))
        return task

    def _forget(self, saga_id: str, ended: asyncio.Task[None]) -> None:
        if self._driving.get(saga_id) is ended:
            del self._driving[saga_id]

    async def _drive(self, saga_id: str) -> None:
        if self._stopping:
            return
        # A name of its own for each drive: nobody who lost a lease can be taken for whoever has it now.
        driver = f"{self._process}:{next(self._drives)}"
        kinds = list(self._plans)
        saga = await self._database.run(lambda tx: store.claim(tx, saga_id, kinds, driver, LEASE_SECONDS))
        if saga is None:
            return
        heart = asyncio.create_task(self._renew(saga))
        delay = 0.0
        try:
            with spans.saga(saga.kind, saga.id, saga.subject_id, saga.correlation_id):
                delay = await self._advance(saga, self._plans[saga.kind])
        except LeaseLost:
            log.warning("saga_lease_lost", saga_id=saga_id)
        except Exception:
            # A bug or a lost database: the records stand, so the saga goes on from them later.
            log.exception("saga_interrupted", saga_id=saga_id, kind=saga.kind)
            delay = HAND_BACK_AFTER_SECONDS
        finally:
            heart.cancel()
            await asyncio.shield(self._hand_back(saga, delay))

    async def _hand_back(self, saga: Saga, delay: float) -> None:
        try:
            await self._database.run(lambda tx: store.hand_back(tx, saga.id, saga.driver, delay))
        except UNREACHABLE:
            # The lease runs out by itself.
            log.warning("saga_not_handed_back", saga_id=saga.id)

    async def _renew(self, saga: Saga) -> None:
        is_ours = True
        while is_ours:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                is_ours = await self._database.run(lambda tx: store.renew(tx, saga.id, saga.driver, LEASE_SECONDS))
            except UNREACHABLE:
                log.warning("saga_lease_not_renewed", saga_id=saga.id)

    async def _advance(self, saga: Saga, plan: Plan) -> float:
        """Run the steps that are not settled yet; returns the seconds after which the saga is due again."""
        planned = plan.steps(saga)
        recorded = await self._database.run(lambda tx: store.steps(tx, saga.id), read_only=True)
        facts: list[Facts] = [row["outcome"] for row in recorded if row["status"] == "SETTLED"]
        for position in range(len(facts), len(planned)):
            untouched = all(step.is_look for step in planned[:position])
            may_give_up = untouched and recorded[position]["status"] != "UNKNOWN"
            outcome, delay = await self._finish_step(saga, planned[position], position, may_give_up=may_give_up)
            match outcome:
                case Settled():
                    facts.append(outcome.facts)
                    ended = facts if position + 1 == len(planned) else None
                    try:
                        await self._settle(saga, plan, position, outcome, ended)
                    except Refusal as refusal:
                        # Meanwhile the ground has changed. Whoever has only looked may still be refused.
                        if not (untouched and planned[position].is_look):
                            raise
                        await self._refuse(saga, plan, position, Refused(refusal))
                        return 0.0
                case Refused():
                    await self._refuse(saga, plan, position, outcome)
                    return 0.0
                case _:
                    return delay
        return 0.0

    async def _finish_step(
        self, saga: Saga, step: Step, position: int, *, may_give_up: bool
    ) -> tuple[Outcome, float]:
        """Attempt the step until it is settled or refused, or until the next try is too far off to wait here."""
        failures = waits = 0
        await self._database.run(_fenced(saga, lambda tx: store.mark_attempt(tx, saga.id, position)))
        while True:
            with working(Urgency.CRITICAL), spans.step(saga.kind, step.name) as span:
                outcome = await step.attempt(saga, position)
                span.set("offerhub.outcome", type(outcome).__name__)
            match outcome:
                case Settled() | Refused():
                    return outcome, 0.0
                case NotYet(seconds=seconds):
                    waits += 1
                    delay = min(WAIT_MAX_SECONDS, seconds * waits)
                case Unknown(reason):
                    # Whatever a later attempt cannot reach: this one may have had its effect.
                    may_give_up = False
                    failures += 1
                    delay = _back_off(0.2, failures)
                    await self._database.run(_marking_unknown(saga, position, reason))
                case Unavailable(refusal, patient):
                    failures += 1
                    delay = _back_off(UNAVAILABLE_SECONDS, failures)
                    if may_give_up and not patient and failures >= UNAVAILABLE_ATTEMPTS_MAX:
                        return Refused(refusal), 0.0
                    await self._database.run(_noting(saga, position, str(refusal)))
            log.debug("saga_waits", saga_id=saga.id, kind=saga.kind, step=step.name, outcome=type(outcome).__name__)
            if delay > HAND_BACK_AFTER_SECONDS:
                return outcome, delay
            await self._clock.sleep(delay)

    async def _settle(
        self, saga: Saga, plan: Plan, position: int, settled: Settled, all_facts: Sequence[Facts] | None
    ) -> None:
        step = plan.steps(saga)[position]

        async def settle(tx: Tx) -> None:
            await store.fence(tx, saga)
            if settled.inclusion is not None:
                await store.close_envelope(tx, settled.inclusion, dict(settled.facts))
            await store.mark_done(tx, saga.id, position, "SETTLED", dict(settled.facts))
            await step.settle(tx, saga, settled.facts)
            if all_facts is not None:
                await plan.succeed(tx, saga, all_facts)
                await store.finish(tx, saga.id, "SUCCEEDED", None)

        await self._database.run(settle)
        log.info("saga_step_settled", saga_id=saga.id, kind=saga.kind, step=step.name, subject=saga.subject_id)

    async def _refuse(self, saga: Saga, plan: Plan, position: int, refused: Refused) -> None:
        refusal = refused.refusal
        stored = {"code": refusal.code, "message": refusal.message, "details": dict(refusal.details)}

        async def refuse(tx: Tx) -> None:
            await store.fence(tx, saga)
            if refused.inclusion is not None:
                await store.close_envelope(tx, refused.inclusion, stored)
            await store.mark_done(tx, saga.id, position, "REFUSED", stored)
            if refused.unsigned is not None:
                await self._keep_evidence(tx, saga, plan.steps(saga)[position].name, refused)
            await plan.refuse(tx, saga, refusal)
            await store.finish(tx, saga.id, "REFUSED", stored)

        await self._database.run(refuse)
        level = log.error if isinstance(refusal, InternalError) else log.warning
        level("saga_refused", saga_id=saga.id, kind=saga.kind, subject=saga.subject_id, code=refusal.code)

    async def _keep_evidence(self, tx: Tx, saga: Saga, step: str, refused: Refused) -> None:
        """Keep a transaction that we would not sign. The audit trail tells it once; repetitions are counted."""
        assert refused.unsigned is not None
        details = refused.refusal.details
        first = await store.keep_refused_envelope(tx, saga, step, details, refused.unsigned)
        if first:
            told = {"sagaId": saga.id, "step": step, "field": details.get("field")}
            entry = journal.AuditEntry(
                "ENVELOPE_REFUSED",
                "Envelope",
                saga.subject_id,
                told | {"expected": details.get("expected")},
                told | {"found": details.get("found")},
                "DISCREPANCY_FOUND",
            )
            await journal.record(tx, saga.actor, audit=[entry])


def _back_off(base: float, failures: int) -> float:
    """Exponential with jitter, from `base` seconds to DELAY_MAX_SECONDS."""
    return jitter(min(DELAY_MAX_SECONDS, base * 2.0 ** (failures - 1)))


def _fenced(saga: Saga, write: Callable[[Tx], Awaitable[None]]) -> Callable[[Tx], Awaitable[None]]:
    """What only the saga's driver may write. Raises LeaseLost for anybody else."""

    async def fenced(tx: Tx) -> None:
        await store.fence(tx, saga)
        await write(tx)

    return fenced


def _marking_unknown(saga: Saga, position: int, reason: str) -> Callable[[Tx], Awaitable[None]]:
    return _fenced(saga, lambda tx: store.mark_unknown(tx, saga.id, position, reason))


def _noting(saga: Saga, position: int, reason: str) -> Callable[[Tx], Awaitable[None]]:
    return _fenced(saga, lambda tx: store.note_error(tx, saga.id, position, reason))
