"""The HTTP application: every request passes here, in this order (contract 1).

correlation id → route, 404, 405, 415 → authentication → rate limit → scope → maintenance → body, query →
the route's own limit → idempotency, use case → envelope. Who calls is found out before the rate limit, because the
limit belongs to the key; callers who cannot be identified are limited by their address. Whatever goes wrong, the
answer is JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import asyncpg
import msgspec
import structlog
from starlette.routing import Router
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.edge import scopes
from offerhub.edge.answers import Headers, Reply, failure
from offerhub.edge.endpoint import Endpoint
from offerhub.edge.ports import Authenticator, Gate, SagaWaiter
from offerhub.edge.rate_limit import RateLimiter
from offerhub.edge.request import BASE_PATH, Request
from offerhub.edge.streams import StreamReply, Streams
from offerhub.edge.table import RouteTable
from offerhub.errors import InternalError, Refusal, ServiceUnavailable
from offerhub.kernel.clock import Clock, SystemClock
from offerhub.runtime import spans
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database
from offerhub.runtime.round_trips import RoundTrips, counting
from offerhub.runtime.routes import Route
from offerhub.runtime.statements import Batches
from offerhub.runtime.vault import Vault

BODY_BYTES_MAX_DEFAULT: Final = 100_000
BODY_SECONDS_MAX_DEFAULT: Final = 30.0
MAINTENANCE_PATHS: Final = "/admin/maintenance/"
"""What ends maintenance must not be stopped by it."""

Observer = Callable[[str, int, float, RoundTrips], None]
"""Told the route's name, the status, the seconds and the round trips of each answer."""

_PUBLIC = Actor(DEFAULT_MARKETPLACE_ID, "public", "public", "public")

log = structlog.get_logger(__name__)


def stops_in_maintenance(route: Route) -> bool:
    """True for what changes something, except for what ends maintenance."""
    return route.method != "GET" and not route.path.startswith(MAINTENANCE_PATHS)


def build(
    routes: Sequence[Route],
    *,
    database: Database,
    batches: Batches | None = None,
    authenticate: Authenticator,
    sagas: SagaWaiter,
    limiter: RateLimiter | None,
    user_limits: Mapping[str, RateLimiter] | None = None,
    inline_wait_seconds: float,
    body_bytes_max: int = BODY_BYTES_MAX_DEFAULT,
    body_seconds_max: float = BODY_SECONDS_MAX_DEFAULT,
    version: str,
    lifespan: Lifespan[Any] | None = None,
    vault: Vault | None = None,
    clock: Clock | None = None,
    gate: Gate | None = None,
    observe: Observer | None = None,
    streams: Streams | None = None,
) -> ASGIApp:
    """The application that serves these routes at `/api/v1/*` and at `/*`.

    `limiter` None switches the rate limit off; `user_limits` are the limits of routes of their own, by their
    variable, and one that is missing is off. `inline_wait_seconds` bounds the wait for a saga. `lifespan` runs
    around the server's life. `gate` is asked before every change; without one all are accepted. `observe` is told of
    every answer. `streams` looks after event streams, where a route answers with one. Raises ValueError when two
    routes claim one path and method, or when a route's answers are to be sealed and there is no vault.
    """
    unsealed = [route.name for route in routes if route.sealed and vault is None]
    if unsealed:
        raise ValueError(f"these routes answer with secrets and need a vault: {', '.join(unsealed)}")
    endpoint = Endpoint(
        database,
        sagas,
        clock or SystemClock(),
        inline_wait_seconds,
        body_bytes_max,
        body_seconds_max,
        vault,
        user_limits or {},
        batches or Batches(database),
        streams,
    )
    return Edge(
        RouteTable(routes), endpoint, authenticate, limiter, gate, version, Router(lifespan=lifespan), observe
    )


class Edge:
    """The ASGI application."""

    def __init__(
        self,
        table: RouteTable,
        endpoint: Endpoint,
        authenticate: Authenticator,
        limiter: RateLimiter | None,
        gate: Gate | None,
        version: str,
        router: Router,
        observe: Observer | None,
    ) -> None:
        self._table = table
        self._endpoint = endpoint
        self._authenticate = authenticate
        self._limiter = limiter
        self._gate = gate
        self._version_header = (b"x-offerhub-version", version.encode("ascii"))
        self._router = router
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # The server's start and stop; a WebSocket is closed there.
            await self._router(scope, receive, send)
            return
        request = Request.read(scope, receive)
        started = self._endpoint.clock.monotonic()
        with _Named(request), counting() as asked:
            reply = await (self._reply(request) if spans.active is None else self._traced(spans.active, request))
            if self._observe is not None and isinstance(reply, StreamReply):
                self._observe(request.route_name, reply.status, self._endpoint.clock.monotonic() - started, asked)
            await reply.send(send, self._headers(request))
            seconds = self._endpoint.clock.monotonic() - started
            if self._observe is not None and isinstance(reply, Reply):
                self._observe(request.route_name, reply.status, seconds, asked)
            log.info(
                "request",
                method=scope["method"],
                path=request.path,
                status=reply.status,
                milliseconds=round(seconds * 1000, 1),
                sql=asked.sql,
                redis=asked.redis,
            )

    def _headers(self, request: Request) -> Headers:
        headers = [(b"x-request-id", request.correlation_id.encode("ascii")), self._version_header]
        return headers if request.allowance is None else [*headers, *request.allowance.headers()]

    async def _reply(self, request: Request) -> Reply | StreamReply:
        try:
            return await self._serve(request)
        except Refusal as refusal:
            return failure(refusal, request.correlation_id)
        except Exception as error:  # noqa: BLE001 - whatever broke is told in one form
            return failure(_explain(error), request.correlation_id)

    async def _traced(self, tracing: spans.Tracing, request: Request) -> Reply | StreamReply:
        """The reply, with a span from the request's arrival until it is known."""
        said, method = request.headers.get(spans.CARRIED), request.scope["method"]
        with spans.request(tracing, method, request.path, request.correlation_id, said) as span:
            reply = await self._reply(request)
            template = None if request.route is None else f"{BASE_PATH}{request.route.path}"
            spans.answered(span, method, template, reply.status)
        return reply

    async def _serve(self, request: Request) -> Reply | StreamReply:
        try:
            route, path = self._table.find(request.method, request.path)
            request.route = route
            if route.body is not None:
                request.require_json()
            actor = await self._identify(route, request)
        except Refusal:
            await self._limit(request, None)
            raise
        if route.rate_limited:
            await self._limit(request, actor)
        elif self._limiter is not None:
            request.allowance = self._limiter.unlimited()
        ids = {name: value for name, value in path.items() if name.endswith("_id")}
        request.told = structlog.contextvars.bind_contextvars(marketplace_id=actor.marketplace_id, **ids)
        scopes.require(actor, route)
        await self._require_open(route)
        return await self._endpoint.serve(route, path, actor, request)

    async def _identify(self, route: Route, request: Request) -> Actor:
        if route.scope == "public":
            actor = _PUBLIC
        else:
            actor = await self._authenticate(request.credential(), request.headers.get("x-marketplace-id"))
        return msgspec.structs.replace(
            actor, correlation_id=request.correlation_id, ip=request.ip, user_agent=request.user_agent
        )

    async def _require_open(self, route: Route) -> None:
        if self._gate is None or not stops_in_maintenance(route):
            return
        refusal = await self._gate.refusal()
        if refusal is not None:
            raise refusal

    async def _limit(self, request: Request, actor: Actor | None) -> None:
        if self._limiter is None:
            return
        anonymous = actor is None or actor.kind == "public"
        identity = f"ip:{request.ip}" if actor is None or anonymous else f"key:{actor.credential_id}"
        request.allowance = await self._limiter.take(identity)
        if request.allowance.wait_seconds:
            raise request.allowance.refusal()


class _Named:
    """Log lines name the request, and once it is known whose it is, the marketplace and the ids of its path.

    Structlog's own context manager reads every variable of the context before.
    """

    __slots__ = ("_request", "_tokens")

    def __init__(self, request: Request) -> None:
        self._request = request

    def __enter__(self) -> None:
        self._tokens = structlog.contextvars.bind_contextvars(request_id=self._request.correlation_id)

    def __exit__(self, *_: object) -> None:
        structlog.contextvars.reset_contextvars(**self._tokens, **self._request.told)


_UNREACHABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)


def _explain(error: Exception) -> Refusal:
    """What a caller may know of an unexpected error. It is logged in full."""
    # An InterfaceError that is also a ValueError means that we passed a wrong argument.
    if isinstance(error, _UNREACHABLE) and not isinstance(error, ValueError):
        log.error("service_unavailable", exc_info=error)
        return ServiceUnavailable()
    log.error("internal_error", exc_info=error)
    return InternalError()
