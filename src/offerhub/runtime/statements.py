"""Use cases that one SQL statement performs whole, several requests in one transaction (decision 0051).

A handler describes what is to happen, and the answer, with places left open for what only the database knows, such as
a balance after the change. The database claims the key, has the effect, fills the places, keeps the answer, and
commits: one round trip for a request, or for as many as have come while the one before was under way.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from offerhub.errors import Refusal
from offerhub.runtime import spans
from offerhub.runtime.database import AGAIN, Database, Raised, Tx
from offerhub.runtime.round_trips import note_sql
from offerhub.runtime.together import Together

LANES_MAX: Final = 4
PATIENCE_SECONDS: Final = 0.05
"""One batch at a time, as full as it gets; another begins beside it when it takes longer, as before a locked row."""
BATCH_MAX: Final = 32
"""Each request is a subtransaction, and PostgreSQL keeps 64 of one transaction at hand."""

_encode: Final = msgspec.json.Encoder().encode
# No client can know it, so no text of theirs holds a place. Short, because each answer is searched for it.
_PLACE: Final = secrets.token_urlsafe(9)


def place(number: int) -> str:
    """What stands in a text where the database is to put its value of this number, from 1."""
    return f"{_PLACE}{number}$s"


class Places(msgspec.Struct, frozen=True):
    """Where a balance before a change and after it goes, as the wire shows it."""

    was: str
    becomes: str


def template(value: Any) -> str:
    """Any value as JSON text for PostgreSQL's `format`, with its places."""
    return as_format(_encode(value).decode())


def as_kept(value: Any) -> Any:
    """JSON of a client's as PostgreSQL gives it back: the names of an object by their length, then by their bytes."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return {name: as_kept(value[name]) for name in names}
    return [as_kept(one) for one in value] if isinstance(value, list) else value


def as_format(text: str) -> str:
    """A text for PostgreSQL's `format`: its places become arguments, and a percent sign stays one."""
    if "%" in text:
        text = text.replace("%", "%%")
    return text.replace(_PLACE, "%")


class Statement(msgspec.Struct, frozen=True):
    """What a handler returns for the database to perform.

    `use_case` names the SQL function `effect_of_…`, `request` is its argument without the answer, `answer` what the
    handler would return, with places. Requests of a batch are performed in the order of `turn`, the user whose money
    they move, so that two batches never wait for each other; None is for one that moves money of several, and goes
    alone. `refusal` says what an error of the function means; None when it means nothing to the caller. `otherwise`
    is the answer when the function did nothing: what it was to make is there already. `rings` is what the doorbell is
    rung for once it is committed.
    """

    use_case: str
    turn: str | None
    request: Mapping[str, Any]
    answer: Any
    refusal: Callable[[Raised], Refusal | None]
    otherwise: Callable[[Tx], Awaitable[Any]] | None = None
    rings: tuple[str, ...] = ("events",)

    async def within(self, tx: Tx, answer: str) -> bytes | None:
        """Perform it in a transaction of the caller's; the answer with its places filled, None if it did nothing.

        Raises the Refusal that an error stands for, which leaves the transaction unusable.
        """
        try:
            text = await tx.value(_WITHIN, self.use_case, _encode({**self.request, "answer": answer}).decode())
        except asyncpg.PostgresError as error:
            refusal = self.refusal(Raised.of(error))
            if refusal is None:
                raise
            raise refusal from error
        if text is None:
            return None
        tx.rings.update(self.rings)
        return str(text).encode()


UNUSABLE: Final = (
    *AGAIN,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""After these nobody knows what became of a batch, or asking again for each of it would only make things worse."""
_WITHIN: Final = "SELECT perform_within($1, $2::text::jsonb)"
_PERFORM: Final = "SELECT answer FROM perform($1)"


class _Asked(NamedTuple):
    turn: str
    request: dict[str, Any]
    rings: tuple[str, ...]


class Batches:
    """Performs requests together: whatever has come while the lanes are busy goes with the next batch."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together: Together[_Asked, bytes | None] = Together(
            self._perform, lanes=LANES_MAX, most=BATCH_MAX, patience_seconds=PATIENCE_SECONDS
        )

    async def perform(
        self, statement: Statement, answer: str, claim: Mapping[str, Any] | None = None
    ) -> bytes | None:
        """The answer, durable when this returns, or None when nothing was done and the request has to be asked alone.

        Raises what the database raises when it cannot be used; then nobody knows whether the effect is there, as
        after any commit whose answer was lost: a repetition with the same key tells.
        """
        request: dict[str, Any] = {
            "use_case": statement.use_case,
            "request": {**statement.request, "answer": answer},
        }
        if claim is not None:
            request["claim"] = claim
        if spans.active is None:
            return await self._ask(statement, request)
        with spans.performed(statement.use_case):
            return await self._ask(statement, request)

    async def _ask(self, statement: Statement, request: dict[str, Any]) -> bytes | None:
        if statement.turn is None:
            [performed] = await self._perform([_Asked("", request, statement.rings)])
            return performed
        note_sql()
        return await self._together.ask(_Asked(statement.turn, request, statement.rings))

    async def _perform(self, asked: list["_Asked"]) -> list[bytes | None]:
        order = sorted(range(len(asked)), key=lambda number: asked[number].turn)
        requests = _encode([asked[number].request for number in order]).decode()
        rings = {ring for one in asked for ring in one.rings}
        try:
            rows = await self._database.statement(_PERFORM, requests, rings=rings)
        except asyncpg.PostgresError as error:
            if isinstance(error, UNUSABLE):
                raise
            # It has rolled all of them back, for what one of them tells, or for want of something.
            return [None] * len(asked)
        answers: list[bytes | None] = [None] * len(asked)
        for number, row in zip(order, rows, strict=True):
            answers[number] = None if row["answer"] is None else row["answer"].encode()
        return answers
