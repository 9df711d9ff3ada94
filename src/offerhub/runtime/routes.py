"""Routes are data: a slice declares each endpoint once, the edge enforces what is declared (design 12).

Authentication, scopes, validation, idempotency, envelopes, the documentation and the generated tests all read
these declarations. An endpoint that is not declared cannot exist.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import msgspec

from offerhub.errors import Refusal
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx

T = TypeVar("T")


class Envelope(Enum):
    """How an answer is wrapped (contract 1.4)."""

    DATA = "data"
    """`{data: X, meta}`"""
    SUCCESS = "success"
    """`{success: true, data: X, meta}`"""
    FLAT = "flat"
    """the fields of X at the top, plus `data: X` and `meta`"""
    LIST = "list"
    """`{success: true, data: [...], hasMore, nextCursor?, pagination, meta}`; the handler returns a Page"""
    PAGE = "page"
    """`{data: [...], pagination: {hasMore, nextCursor}, meta}`; the handler returns a Page"""


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of request bodies and queries: unknown properties are refused.

    `one_of` are required properties that go by several names: of each group one must be there, and the first that is
    counts. Null is not there.
    """

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()

    def __post_init__(self) -> None:
        for names in self.one_of:
            if all(getattr(self, name) is None for name in names):
                # In the words of msgspec, which puts the place behind them.
                raise ValueError(f"Object missing required field `{names[0]}`")


def first(*values: T | None) -> T | None:
    """The first of a property's names that was sent, None when none was."""
    return next((value for value in values if value is not None), None)


class Shape(msgspec.Struct, kw_only=True):
    """Base of answer types: what a client may rely on. Attribute names are those of the wire.

    A field that is left out when there is nothing to say is declared `T | msgspec.UnsetType = msgspec.UNSET`.
    """


class Call(msgspec.Struct):
    """One request, as a handler sees it: authenticated, validated, inside its transaction."""

    actor: Actor
    path: Mapping[str, str]
    body: Any
    query: Any
    transaction: Tx | None
    headers: Mapping[str, str] = {}
    """By lower-case name."""

    @property
    def tx(self) -> Tx:
        """The request's transaction; only routes declared with `unit="none"` have none."""
        assert self.transaction is not None
        return self.transaction


@dataclass(frozen=True, slots=True)
class Raw:
    """The body of a `raw` route: its bytes as they came, and the headers by lower-case name (the first of each)."""

    content: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler returns when the status is not the declared one."""

    data: Any
    status: int


@dataclass(frozen=True, slots=True)
class Document:
    """What a handler returns to answer with something else than an envelope, such as a page.

    `content_security_policy` None keeps the policy of every answer, under which a browser loads nothing.
    """

    content: bytes
    media_type: str
    content_security_policy: str | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """What a handler returns to send a browser on, with 302. `location` is a setting, never taken from a request."""

    location: str


Ending = Literal["slow", "revoked", "shutdown", "gone"]
"""Why a stream ends: the client reads too slowly, may not read any more, the service stops, or the client left."""


class Stream(Protocol):
    """What a handler returns to answer with server-sent events, for as long as both sides want it."""

    @property
    def ended(self) -> bool:
        """True once nothing more is to come."""
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """What to send, as it comes."""
        ...

    def end(self, why: Ending) -> None:
        """Let `chunks` come to its end soon; what waits to be sent is dropped."""
        ...


@dataclass(frozen=True, slots=True)
class Deferred:
    """The transaction started a saga: after its commit the edge waits for it, then asks `view` for the answer.

    `view` reads the state reached in a new transaction. A saga that was refused meanwhile raises its stored
    refusal instead. The stored idempotent answer is whatever is answered in the end.
    """

    saga_id: str
    view: Callable[[Tx], Awaitable[Any]]
    status: int | None = None


Handler = Callable[[Call], Awaitable[Any]]
Conflict = Callable[[Call], Refusal]
Refused = Callable[[Call, Refusal], Awaitable[None]]
Resume = Callable[[Call, str], Awaitable[Any]]
Scope = Literal["public", "any", "read", "write", "support", "master"]

DAY_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class UserLimit:
    """How many requests a minute a route takes for one user, beside the limit of the credential (contract 1.8).

    `variable` is the setting that changes `per_minute`, and with 0 ends it. `user_of` says whom a request counts for,
    None when it names nobody; it may refuse what the handler would refuse.
    """

    variable: str
    per_minute: int
    user_of: Callable[[Call], str | None]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. `path` is below the base path, such as `/orders/{order_id}/reserve`.

    `domain` is the legacy scope name that implies read and write here. `unit` is the transaction the handler runs in:
    `write`, `read` (read-only) or `none` (the handler does its own, because it calls the network).
    `idempotency_seconds` is how long an answer is kept for replay; 0 means the route takes no key. Keys are taken by
    authenticated `write` units only. `resume(call, saga_id)` reads the answer of a saga that an earlier request
    started and did not live to answer; a route whose handler returns Deferred must have one. `sealed` marks answers
    that hold a secret, which are encrypted while they are kept for replay.

    `answer` is the type of the envelope's X; for the envelopes LIST and PAGE that of one item. A route without an
    envelope answers `Redirect`, or a `Document` or `Stream` of this `media_type`. `description` is Markdown for the
    API's documentation, beside the one-sentence `summary`. `also` are the statuses that the
    handler may choose instead of `status`, such as 200 where nothing new was created. `limit` is a limit of the
    route's own. `conflict` makes the refusal for when the transaction met other changes at each of its repetitions;
    without it that is SERVICE_UNAVAILABLE. `refused` writes down a final refusal of a `write` route, after the use
    case was rolled back; where there is a key, in the transaction that stores the answer, so that a replay writes
    nothing. A `raw` route gets the body as `Raw`, undecoded, because its signature is over the bytes. A route that is
    not `rate_limited` costs no allowance. The handler of a `write` route that is done `at_once` returns a `Statement`
    and asks nothing of the database, unless it `looks_first`: then it may read, outside of any transaction.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    name: str
    summary: str
    handler: Handler
    scope: Scope
    domain: str
    envelope: Envelope
    status: int = 200
    body: type[Body] | None = None
    body_optional: bool = False
    query: type[Body] | None = None
    unit: Literal["write", "read", "none"] = "write"
    idempotency_seconds: int = DAY_SECONDS
    errors: tuple[type[Refusal], ...] = field(default=())
    resume: Resume | None = None
    sealed: bool = False
    answer: Any = None
    description: str = ""
    also: tuple[int, ...] = ()
    media_type: str = "application/json"
    limit: UserLimit | None = None
    conflict: Conflict | None = None
    refused: Refused | None = None
    raw: bool = False
    rate_limited: bool = True
    at_once: bool = False
    looks_first: bool = False

    @property
    def takes_key(self) -> bool:
        """True when the route takes an Idempotency-Key.

        Public callers share one identity: a key of theirs could fetch somebody else's answer.
        """
        return (
            self.unit == "write" and self.method != "GET" and self.idempotency_seconds > 0 and self.scope != "public"
        )
