"""Use cases that one SQL statement performs whole, several requests in one transaction (decision 0051).

A handler describes what is to happen, and the answer, with places left open for what only the database knows, such as
a balance after the change. The database claims the key, has the effect, fills the places, keeps the answer, and
commits: one round trip for a request, or for as many as have come while the one before was under way.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import msgspec

from offerhub.errors import Refusal
from offerhub.runtime.database import Database, Raised, Tx
from offerhub.runtime.round_trips import note_sql
from offerhub.runtime.together import Together

LANES: Final = 2
"""Batches at once: while one waits for its commit to be durable, the next is at work."""
BATCH_MAX: Final = 32
"""Each request is a subtransaction, and PostgreSQL keeps 64 of one transaction at hand."""

_encode: Final = msgspec.json.Encoder().encode
# No client can know it, so no text of theirs holds a place.
_PLACE: Final = f"place{secrets.token_hex(12)}x"


def place(number: int) -> str:
    """What stands in a text where the database is to put its value of this number, from 1."""
    return f"{_PLACE}{number}x"


def template(value: Any) -> str:
    """Any value as JSON text for PostgreSQL's `format`, with its places."""
    return as_format(_encode(value).decode())


def as_format(text: str) -> str:
    """A text for PostgreSQL's `format`: its places become arguments, and a percent sign stays one."""
    before, *rest = text.replace("%", "%%").split(_PLACE)
    parts = [before]
    for piece in rest:
        number, _, after = piece.partition("x")
        parts.append(f"%{number}$s{after}")
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a handler returns for the database to perform.

    `use_case` is the SQL function, `request` its argument without the answer, `answer` what the handler would return,
    with places. Requests of a batch are performed in the order of `turn`, the user whose money they move, so that two
    batches never wait for each other; None is for one that moves money of several, and goes alone. `refusal` says
    what an error of the function means; None when it means nothing to the caller.
    """

    use_case: str
    turn: str | None
    request: Mapping[str, Any]
    answer: Any
    refusal: Callable[[Raised], Refusal | None]

    async def within(self, tx: Tx, answer: str) -> bytes:
        """Perform it in a transaction of the caller's; returns the answer with its places filled.

        Raises the Refusal that an error stands for, which leaves the transaction unusable.
        """
        try:
            text = await tx.value(_WITHIN.format(self.use_case), _encode({**self.request, "answer": answer}).decode())
        except asyncpg.PostgresError as error:
            refusal = self.refusal(Raised.of(error))
            if refusal is None:
                raise
            raise refusal from error
        tx.rings.add("events")
        return str(text).encode()


_WITHIN: Final = "SELECT {}($1::text::jsonb)"
_PERFORM: Final = "SELECT answer FROM perform($1)"


class Batches:
    """Performs requests together: whatever has come while the lanes are busy goes with the next batch."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together: Together[tuple[str, dict[str, Any]], bytes | None] = Together(
            self._perform, lanes=LANES, most=BATCH_MAX
        )

    async def perform(self, statement: Statement, claim: Mapping[str, Any] | None, answer: str) -> bytes | None:
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
        if statement.turn is None:
            [performed] = await self._perform([("", request)])
            return performed
        note_sql()
        return await self._together.ask((statement.turn, request))

    async def _perform(self, asked: list[tuple[str, dict[str, Any]]]) -> list[bytes | None]:
        order = sorted(range(len(asked)), key=lambda number: asked[number][0])
        requests = _encode([asked[number][1] for number in order]).decode()
        rows = await self._database.statement(_PERFORM, requests, rings="events")
        answers: list[bytes | None] = [None] * len(asked)
        for number, row in zip(order, rows, strict=True):
            answers[number] = None if row["answer"] is None else row["answer"].encode()
        return answers
