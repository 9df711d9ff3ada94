"""What an operator sees of the queues, and does about jobs that failed for good (contract 2.14).

The letters lie in Redis and what was decided about them in PostgreSQL. The decision commits first: the audit entry
and, for a discarded job, the end of its outbox row. Should Redis vanish in between, the letter is still there to be
moved.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

from offerhub.access.service import is_operator, require_operator
from offerhub.errors import NotFound, ServiceUnavailable, invalid_field
from offerhub.events.journal import AuditEntry, record
from offerhub.kernel.clock import to_wire
from offerhub.kernel.pages import Page
from offerhub.operations.model import DeadLetterAnswer, MovedLetterAnswer, QueueAnswer, QueuesAnswer
from offerhub.runtime import outbox
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.dead_letters import DeadLetter, DeadLetters, Place, moment_of
from offerhub.runtime.queue import Queues, QueueUnavailable
from offerhub.runtime.redaction import redact, scrub
from offerhub.runtime.routes import Call

T = TypeVar("T")

REASON_CHARACTERS_MAX = 2_000


class QueueOffice:
    """Handlers of the routes. Each raises ServiceUnavailable while Redis cannot be asked."""

    def __init__(self, database: Database, dead_letters: DeadLetters, queues: Queues) -> None:
        self._database = database
        self._dead_letters = dead_letters
        self._queues = queues

    async def counts(self, call: Call) -> QueuesAnswer:
        """How many jobs are where, by queue. Raises InsufficientScope."""
        require_operator(call.actor)
        found = {name: await _asking(self._queues.counts(name)) for name in self._dead_letters.names}
        return QueuesAnswer(queues={name: QueueAnswer(**counts) for name, counts in found.items()})

    async def newest(self, call: Call) -> Page:
        """One page of dead letters. Raises InsufficientScope, and ValidationFailed for an unknown queue or cursor."""
        require_operator(call.actor)
        query = call.query
        after = None if query.cursor is None else _place(query.cursor)
        found = await _asking(self._dead_letters.newest(query.limit + 1, queue=query.queue, after=after))
        shown = found[: query.limit]
        more = len(found) > query.limit and shown
        return Page([_shown(letter) for letter in shown], _cursor(shown[-1].place) if more else None)

    async def show(self, call: Call) -> DeadLetterAnswer:
        """One dead letter, with its trace. Raises NotFound."""
        letter = await self._require(call.actor, call.path["letter_id"])
        answer = _shown(letter)
        answer.trace = scrub(letter.trace)
        return answer

    async def retry(self, call: Call) -> MovedLetterAnswer:
        """Let a job run again. Raises NotFound."""
        letter = await self._require(call.actor, call.path["letter_id"])
        await self._database.run(lambda tx: _decide(tx, call.actor, "DEAD_LETTER_RETRIED", letter))
        return await self._move(letter, self._dead_letters.retry, "RETRIED")

    async def discard(self, call: Call) -> MovedLetterAnswer:
        """Give a job up, so that nothing hands it over again. Raises NotFound."""
        letter = await self._require(call.actor, call.path["letter_id"])

        async def give_up(tx: Tx) -> None:
            if letter.outbox_id is not None:
                await outbox.forget(tx, letter.outbox_id)
            await _decide(tx, call.actor, "DEAD_LETTER_DISCARDED", letter)

        await self._database.run(give_up)
        return await self._move(letter, self._dead_letters.discard, "DISCARDED")

    async def _require(self, actor: Actor, letter_id: str) -> DeadLetter:
        # To other marketplaces the letters of the installation do not exist.
        letter = await _asking(self._dead_letters.get(letter_id)) if is_operator(actor) else None
        if letter is None:
            raise NotFound("There is no such dead letter.")
        return letter

    async def _move(
        self,
        letter: DeadLetter,
        move: Callable[[DeadLetter], Awaitable[bool]],
        status: Literal["RETRIED", "DISCARDED"],
    ) -> MovedLetterAnswer:
        if not await _asking(move(letter)):
            raise NotFound("Somebody else has moved this dead letter meanwhile.")
        return MovedLetterAnswer(id=letter.id, queue=letter.queue, job=letter.name, status=status)


async def _asking(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except QueueUnavailable as error:
        raise ServiceUnavailable("Redis, which holds the queues, cannot be reached just now.") from error


async def _decide(tx: Tx, actor: Actor, action: str, letter: DeadLetter) -> None:
    facts: dict[str, Any] = {
        "queue": letter.queue,
        "job": letter.name,
        "attempts": letter.attempts,
        "reason": letter.reason[:REASON_CHARACTERS_MAX],
    }
    await record(tx, actor, audit=[AuditEntry(action, "DeadLetter", letter.id, before=facts)])


def _shown(letter: DeadLetter) -> DeadLetterAnswer:
    payload = letter.payload if isinstance(letter.payload, dict) else {"value": letter.payload}
    return DeadLetterAnswer(
        id=letter.id,
        queue=letter.queue,
        job=letter.name,
        reason=scrub(letter.reason)[:REASON_CHARACTERS_MAX],
        attempts=letter.attempts,
        payload=redact(payload),
        createdAt=to_wire(moment_of(letter.created_ms)),
        failedAt=to_wire(moment_of(letter.failed_ms)),
    )


def _cursor(place: Place) -> str:
    return ".".join(map(str, place))


def _place(cursor: str) -> Place:
    failed_ms, _, rest = cursor.partition(".")
    queue, _, job_id = rest.partition(".")
    if not (failed_ms.isascii() and failed_ms.isdigit() and len(failed_ms) < 16 and queue and job_id):
        raise invalid_field("cursor", "cursor must be the nextCursor of an earlier page")
    return int(failed_ms), queue, job_id
