"""One declared route at work: body, idempotency, transaction, saga, envelope.

A `write` route is one transaction: take the key, run the use case, keep the answer, commit. A refusal rolls the
use case back to its savepoint and is stored as the answer. A use case that started a saga commits without an
answer; the saga is waited for outside any transaction, and a second one reads and stores what came of it.

A route that is done `at_once` is one statement instead, in which the database does all of that; only when it came to
nothing does the request go the long way, which tells why.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import asyncpg
import msgspec
from msgspec.structs import replace

from offerhub.edge import decoding
from offerhub.edge.answers import Reply, document, failure, redirect, success
from offerhub.edge.idempotency import TAKEN, Claim, Started, is_final
from offerhub.edge.ports import SagaWaiter
from offerhub.edge.rate_limit import RateLimiter
from offerhub.edge.request import Request
from offerhub.edge.streams import StreamReply, Streams
from offerhub.errors import Refusal
from offerhub.kernel.clock import Clock
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.routes import Answer, Call, Deferred, Document, Raw, Redirect, Route, Stream
from offerhub.runtime.statements import Batches, Statement, as_format
from offerhub.runtime.vault import Vault

USER_ID_CHARACTERS_COUNTED: Final = 64
"""No user's id is longer; what is sent as one may be."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Runs routes. `inline_wait_seconds` bounds how long a request waits for the saga that it started.

    `user_limits` are the limits of routes of their own, by their variable; one that is missing is off.
    """

    database: Database
    sagas: SagaWaiter
    clock: Clock
    inline_wait_seconds: float
    body_bytes_max: int
    body_seconds_max: float
    vault: Vault | None
    user_limits: Mapping[str, RateLimiter]
    batches: Batches
    streams: Streams | None = None

    async def serve(
        self, route: Route, path: Mapping[str, str], actor: Actor, request: Request
    ) -> Reply | StreamReply:
        """Answer a request that may use the route. Raises Refusal; refusals that were stored come as a Reply."""
        raw = b"" if route.method == "GET" else await request.body(self.body_bytes_max, self.body_seconds_max)
        parsed = decoding.parse_json(raw) if route.body else {}
        body: Any = Raw(raw, request.headers) if route.raw else None
        if route.body:
            body = decoding.to_body(parsed, route.body)
        key = request.idempotency_key() if route.takes_key else None
        call = Call(
            actor=replace(actor, idempotency_key=key),
            path=path,
            body=body,
            query=decoding.to_query(request.scope["query_string"], route.query) if route.query else None,
            transaction=None,
            headers=request.headers,
        )
        claim = None if key is None else Claim.of(actor, route, key, request.path, parsed, self.vault)
        await self._limit(route, call, claim, request)
        if route.answer is Stream:
            assert self.streams is not None, "whoever serves streams looks after them"
            return self.streams.reply(await route.handler(call), actor, request)
        if route.unit == "none":
            return self.reply(route, await route.handler(call), request)
        if route.unit == "read":
            found = await self.database.run(lambda tx: _handle(route, call, tx), read_only=True)
            return self.reply(route, found, request)
        writing = _Writing(self, route, call, claim, request)
        try:
            return (await writing.at_once() if route.at_once else None) or await writing.answer()
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
            if route.conflict is None:
                raise
            raise route.conflict(call) from error

    async def _limit(self, route: Route, call: Call, claim: Claim | None, request: Request) -> None:
        """Count the request for its user. Raises RateLimited, before the key is claimed: that stays free."""
        limiter = None if route.limit is None else self.user_limits.get(route.limit.variable)
        if route.limit is None or limiter is None:
            return
        user_id = route.limit.user_of(call)
        if not user_id:
            return
        # A repetition has no effect of its own. Redis is asked outside of any transaction, hence the question first.
        if claim is not None and await self.database.run(claim.is_known, read_only=True):
            return
        who = f"{call.actor.marketplace_id}:{user_id[:USER_ID_CHARACTERS_COUNTED]}"
        allowance = await limiter.take(f"{route.name}:{who}")
        if allowance.wait_seconds:
            request.allowance = allowance
            raise allowance.refusal()

    def reply(self, route: Route, result: Any, request: Request) -> Reply:
        """What a handler returned, as the declared envelope; a Document or a Redirect goes as it is."""
        if isinstance(result, Document):
            return document(result)
        if isinstance(result, Redirect):
            return redirect(result)
        status = route.status
        if isinstance(result, Answer):
            result, status = result.data, result.status
        return success(route.envelope, result, status, request.correlation_id, self.clock.now())


async def _handle(route: Route, call: Call, tx: Tx) -> Any:
    return await route.handler(replace(call, transaction=tx))


@dataclass(frozen=True, slots=True)
class _Pending:
    """A saga whose end the answer depends on, and how to read that answer."""

    saga_id: str
    view: Callable[[Tx], Awaitable[Any]]
    status: int | None
    repeated: bool


class _Writing(msgspec.Struct, frozen=True):
    """One request to a `write` route."""

    endpoint: Endpoint
    route: Route
    call: Call
    claim: Claim | None
    request: Request

    async def at_once(self) -> Reply | None:
        """Have the database perform the request whole, together with others.

        None when that came to nothing, because the key is known or the effect is refused: `answer` finds out which.
        """
        database = self.endpoint.database
        handle = partial(_handle, self.route, self.call)
        try:
            statement: Statement = await (
                database.run(handle, read_only=True) if self.route.looks_first else self.route.handler(self.call)
            )
        except Refusal:
            return None
        reply = self.endpoint.reply(self.route, statement.answer, self.request)
        claim = None
        if self.claim is not None:
            claim = self.claim.described(self.call.actor, self.route, self.request.path)
        body = await self.endpoint.batches.perform(statement, as_format(reply.body.decode()), claim)
        return None if body is None else replace(reply, body=body)

    async def answer(self) -> Reply:
        """Run the use case, and wait for the saga that it or an earlier request with the same key started."""
        try:
            outcome = await self._begun()
        except Refusal as refusal:
            if self.route.refused is not None and self.claim is None and is_final(refusal):
                await self.endpoint.database.run(partial(self._refused, refusal=refusal))
            raise
        if isinstance(outcome, Reply):
            return outcome
        pending = outcome
        await self.endpoint.sagas.wait(pending.saga_id, self.endpoint.inline_wait_seconds)
        reply = await self.endpoint.database.run(lambda tx: self._outcome(tx, pending))
        if pending.repeated and self.claim is not None:
            return replace(reply, headers=[*reply.headers, *self.claim.replay_headers()])
        return reply

    async def _begun(self) -> Reply | _Pending:
        if self.claim is None:
            return await self.endpoint.database.run(self._use_case)
        try:
            return await self.endpoint.database.run(partial(self._effect, self.claim), begin=self.claim.begin())
        except asyncpg.PostgresError as error:
            if error.sqlstate != TAKEN:
                raise
        earlier = await self.endpoint.database.run(self.claim.earlier, read_only=True)
        return self._resumed(earlier.saga_id) if isinstance(earlier, Started) else earlier

    async def _effect(self, claim: Claim, tx: Tx) -> Reply | _Pending:
        outcome: Reply | _Pending
        try:
            outcome = await self._use_case(tx)
        except Refusal as refusal:
            if not is_final(refusal):
                raise  # the whole transaction goes, the claim with it
            await tx.execute("ROLLBACK TO SAVEPOINT effect")
            await self._refused(tx, refusal)
            outcome = failure(refusal, self.request.correlation_id)
        kept = outcome if isinstance(outcome, Reply) else Started(outcome.saga_id)
        await claim.keep(tx, self.call.actor, self.route, self.request.path, kept)
        return outcome

    async def _refused(self, tx: Tx, refusal: Refusal) -> None:
        if self.route.refused is not None:
            await self.route.refused(replace(self.call, transaction=tx), refusal)

    async def _use_case(self, tx: Tx) -> Reply | _Pending:
        result = await _handle(self.route, self.call, tx)
        if isinstance(result, Statement):
            reply = self.endpoint.reply(self.route, result.answer, self.request)
            body = await result.within(tx, as_format(reply.body.decode()))
            if body is not None:
                return replace(reply, body=body)
            if result.otherwise is None:
                raise TypeError(f"route {self.route.name} did nothing and has no other answer")
            result = await result.otherwise(tx)
        if not isinstance(result, Deferred):
            return self.endpoint.reply(self.route, result, self.request)
        if self.route.resume is None:
            raise TypeError(f"route {self.route.name} answers Deferred and must declare `resume`")
        return _Pending(result.saga_id, result.view, result.status, repeated=False)

    def _resumed(self, saga_id: str) -> _Pending:
        resume = self.route.resume
        assert resume is not None, "only a route with `resume` leaves a saga behind"

        async def view(tx: Tx) -> Any:
            return await resume(replace(self.call, transaction=tx), saga_id)

        return _Pending(saga_id, view, None, repeated=True)

    async def _outcome(self, tx: Tx, pending: _Pending) -> Reply:
        claim = self.claim
        stored = await claim.answered(tx, pending.saga_id) if claim else None
        if stored is not None:
            return replace(stored, headers=[]) if pending.repeated else stored
        refusal = await self.endpoint.sagas.refusal(tx, pending.saga_id)
        if refusal is None:
            result = await pending.view(tx)
            if pending.status is not None and not isinstance(result, Answer):
                result = Answer(result, pending.status)
            reply = self.endpoint.reply(self.route, result, self.request)
        else:
            reply = failure(refusal, self.request.correlation_id)
        if claim is not None and await self.endpoint.sagas.is_terminal(tx, pending.saga_id):
            if refusal is None or is_final(refusal):
                await claim.store(tx, reply, pending.saga_id)
            else:
                await claim.release(tx, pending.saga_id)
        # While the saga runs nothing is stored: whoever comes back with the key is told how far it has got by then.
        return reply
