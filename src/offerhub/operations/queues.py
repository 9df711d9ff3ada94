"""What an operator sees of the queues, and does about jobs that failed for good (contract 2.14).

Dead letters are in PostgreSQL, and can be shown and decided about while Redis is away. What Redis has of a letter
goes first: should the decision not be written then, the letter still stands.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar

from offerhub.access.service import is_operator, require_operator
from offerhub.errors import NotFound, ServiceUnavailable, invalid_field
from offerhub.events.journal import AuditEntry, record
from offerhub.kernel.clock import EPOCH, to_wire
from offerhub.kernel.pages import Page
from offerhub.operations.model import (
    AttemptAnswer,
    DeadLetterAnswer,
    DeadLetterDetails,
    MovedLetterAnswer,
    QueueAnswer,
    QueuesAnswer,
)
from offerhub.runtime import dead_letters, outbox
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.dead_letters import DeadLetter, Place
from offerhub.runtime.jobs import Depth
from offerhub.runtime.outbox import Backlog
from offerhub.runtime.queue import Queues, QueueUnavailable
from offerhub.runtime.redaction import redact
from offerhub.runtime.routes import Call

T = TypeVar("T")


class QueueOffice:
    """Handlers of the routes."""

    def __init__(self, database: Database, queues: Queues, names: Sequence[str]) -> None:
        self._database = database
        self._queues = queues
        self._names = tuple(names)

    async def counts(self, call: Call) -> QueuesAnswer:
        """How many jobs are where, by queue. Raises InsufficientScope, and ServiceUnavailable without Redis."""
        require_operator(call.actor)
        return QueuesAnswer(queues=await _asking(queue_counts(self._database, self._queues, self._names)))

    async def newest(self, call: Call) -> Page:
        """One page of dead letters. Raises InsufficientScope, and ValidationFailed for an unknown queue or cursor."""
        require_operator(call.actor)
        query = call.query
        after = None if query.cursor is None else _place(query.cursor)
        found = await dead_letters.newest(call.tx, query.limit + 1, queue=query.queue, after=after)
        shown = found[: query.limit]
        more = len(found) > query.limit and shown
        return Page([DeadLetterAnswer(**_told(one)) for one in shown], _cursor(shown[-1].place) if more else None)

    async def show(self, call: Call) -> DeadLetterDetails:
        """One dead letter, with its trace and its history. Raises NotFound."""
        letter = await _require(call.tx, call.actor, call.path["letter_id"])
        history = [
            AttemptAnswer(attempt=one.number, failedAt=to_wire(one.failed_at), reason=one.reason, worker=one.worker)
            for one in await dead_letters.history(call.tx, letter)
        ]
        return DeadLetterDetails(**_told(letter), trace=letter.trace, history=history)

    async def retry(self, call: Call) -> MovedLetterAnswer:
        """Let a job run again. Raises NotFound, and ServiceUnavailable when Redis still has it and is away."""
        return await self._decide(call, dead_letters.retry, "RETRIED")

    async def discard(self, call: Call) -> MovedLetterAnswer:
        """Give a job up, so that nothing hands it over again. Raises what `retry` raises."""
        return await self._decide(call, dead_letters.discard, "DISCARDED")

    async def _decide(
        self,
        call: Call,
        move: Callable[[Tx, str], Awaitable[DeadLetter | None]],
        status: Literal["RETRIED", "DISCARDED"],
    ) -> MovedLetterAnswer:
        actor, letter_id = call.actor, call.path["letter_id"]
        found = await self._database.run(lambda tx: _require(tx, actor, letter_id), read_only=True)
        if not await dead_letters.remove_failed(self._queues, found) and found.outbox_id is None:
            raise ServiceUnavailable("Redis, which still holds this job, cannot be reached just now.")

        async def decide(tx: Tx) -> DeadLetter:
            letter = await move(tx, letter_id)
            if letter is None:
                raise NotFound("Somebody else has moved this dead letter meanwhile.")
            facts = {
                "queue": letter.queue,
                "job": letter.name,
                "attempts": letter.attempts,
                "reason": letter.reason,
            }
            await record(
                tx, actor, audit=[AuditEntry(f"DEAD_LETTER_{status}", "DeadLetter", letter_id, before=facts)]
            )
            return letter

        letter = await self._database.run(decide)
        return MovedLetterAnswer(id=letter.id, queue=letter.queue, job=letter.name, status=status)


async def queue_counts(database: Database, queues: Queues, names: Sequence[str]) -> dict[str, QueueAnswer]:
    """How many jobs are where, by queue. Raises QueueUnavailable."""

    async def read(tx: Tx) -> tuple[dict[str, Backlog], dict[str, int]]:
        return await outbox.backlog(tx), await dead_letters.counts(tx)

    found = {name: await queues.depth(name) for name in names}
    backlog, letters = await database.run(read, read_only=True)
    return {
        name: _queue(depth, backlog.get(name, Backlog(0, None)), letters.get(name, 0))
        for name, depth in found.items()
    }


async def _require(tx: Tx, actor: Actor, letter_id: str) -> DeadLetter:
    # To other marketplaces the letters of the installation do not exist.
    letter = await dead_letters.get(tx, letter_id) if is_operator(actor) else None
    if letter is None:
        raise NotFound("There is no such dead letter.")
    return letter


async def _asking(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except QueueUnavailable as error:
        raise ServiceUnavailable("Redis, which holds the queues, cannot be reached just now.") from error


def _queue(depth: Depth, backlog: Backlog, letters: int) -> QueueAnswer:
    oldest = backlog.oldest_seconds
    return QueueAnswer(
        **depth.counts,
        deadLetters=letters,
        notHandedOver=backlog.not_handed_over,
        oldestSeconds=None if oldest is None else round(oldest, 3),
        workers=depth.workers,
        paused=depth.is_paused,
    )


def _told(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "queue": letter.queue,
        "job": letter.name,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "payload": redact(letter.payload),
        "createdAt": to_wire(letter.created_at),
        "failedAt": to_wire(letter.failed_at),
    }


def _cursor(place: Place) -> str:
    failed_at, letter_id = place
    return f"{(failed_at - EPOCH) // timedelta(microseconds=1)}.{letter_id}"


def _place(cursor: str) -> Place:
    failed_us, _, letter_id = cursor.partition(".")
    if not (failed_us.isascii() and failed_us.isdigit() and len(failed_us) < 17 and letter_id):
        raise invalid_field("cursor", "cursor must be the nextCursor of an earlier page")
    return EPOCH + timedelta(microseconds=int(failed_us)), letter_id
