"""Where a trace gets its spans: requests, statements, jobs, steps of sagas, calls to providers (decision 0063).

Off unless somebody sets `active`; then nothing here does more than to see that it is None. What a span says is fixed
here, by OpenTelemetry's semantic conventions: names, ids and numbers. Parameters of SQL, bodies, headers, query
strings and the texts of errors never go into one. This module knows nothing of OpenTelemetry's packages, which
`span_export` alone imports.
"""

import contextlib
import functools
import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

from offerhub.runtime.redaction import scrub

Kind = Literal["SERVER", "CLIENT", "PRODUCER", "CONSUMER", "INTERNAL"]
Attributes = Mapping[str, str | int]

CARRIED: Final = "traceparent"
"""The name of the header of W3C's, and of what the outbox keeps beside a job's payload."""
PATH_CHARACTERS_MAX: Final = 256

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OPERATION: Final = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|MERGE|COPY)\b")
_FIRST: Final = re.compile(r"\s*([A-Z]+)\b")
_TABLE: Final = re.compile(r"\b(?:INTO|UPDATE|FROM|MERGE)\s+(?:ONLY\s+)?([a-z_][a-z0-9_.]*)")
_FUNCTION: Final = re.compile(r"\bSELECT\s+(?:[a-z_]+\s+FROM\s+)?([a-z_][a-z0-9_.]*)\s*\(")


class Span(Protocol):
    """One piece of work that is under way."""

    def set(self, name: str, value: str | int) -> None:
        """Say one thing more about it."""
        ...

    def rename(self, name: str) -> None:
        """Call it something else, now that it is known what it is."""
        ...

    def fail(self, kind: str) -> None:
        """It has failed; `kind` is what with, never a text."""
        ...


class Tracing(Protocol):
    """Whoever makes spans. One for the whole process."""

    def span(
        self, name: str, kind: Kind, attributes: Attributes, *, under: str | None = None
    ) -> AbstractContextManager[Span]:
        """A span that lasts as long as the block, below the current one or else the one that `under` names.

        `under` is a traceparent; one that is malformed is no parent. An error that leaves the block fails the span.
        """
        ...

    def records(self) -> bool:
        """True while there is a current span that has not ended and will be sent."""
        ...

    def traceparent(self) -> str | None:
        """The current span, as W3C writes it."""
        ...


class _Nothing:
    """The span when there is none."""

    def set(self, name: str, value: str | int) -> None:
        """Nothing is kept."""

    def rename(self, name: str) -> None:
        """Nothing is kept."""

    def fail(self, kind: str) -> None:
        """Nothing is kept."""


OFF: Final[AbstractContextManager[Span]] = contextlib.nullcontext(_Nothing())
active: Tracing | None = None
"""Set while traces are exported, by `span_export`."""


def _known(method: str) -> str:
    """A method, unless the client has made it up."""
    return method if method in _METHODS else "_OTHER"


def request(
    tracing: Tracing, method: str, path: str, correlation_id: str, traceparent: str | None
) -> AbstractContextManager[Span]:
    """One HTTP request, in the caller's trace if it names one. Its route is not known yet."""
    name = _known(method)
    said = {
        "http.request.method": name,
        "url.path": scrub(path)[:PATH_CHARACTERS_MAX],
        "offerhub.correlation_id": correlation_id,
    }
    return tracing.span(name, "SERVER", said, under=traceparent)


def answered(span: Span, method: str, route: str | None, status: int) -> None:
    """What became of a request; `route` is its template, None when there is no such route."""
    if route is not None:
        span.rename(f"{_known(method)} {route}")
        span.set("http.route", route)
    span.set("http.response.status_code", status)
    if status >= 500:
        span.fail(str(status))


@functools.lru_cache(maxsize=1024)
def summary(sql: str) -> tuple[str, str]:
    """What a statement does, and to what: two words of the program's own text, never a value.

    >>> summary("SELECT status FROM orders WHERE id = $1"), summary("SELECT journal($1, $2)")
    (('SELECT', 'orders'), ('SELECT', 'journal'))
    >>> summary("WITH due AS (UPDATE outbox SET due_at = now()) SELECT 1"), summary("BEGIN; SELECT 'x'")
    (('UPDATE', 'outbox'), ('BEGIN', ''))
    """
    first = _FIRST.match(sql)
    word = first[1] if first else ""
    if word == "WITH":
        found = [match[1] for match in _OPERATION.finditer(sql)]
        word = next((one for one in found if one != "SELECT"), "SELECT")
        operation = word
    elif _OPERATION.fullmatch(word):
        operation = word
    else:
        return word, ""
    if operation == "SELECT" and (called := _FUNCTION.match(sql.lstrip())):
        return operation, called[1]
    start = sql.find(operation)
    touched = _TABLE.search(sql, start if operation != "SELECT" else 0)
    return operation, touched[1] if touched else ""


def statement(sql: str) -> AbstractContextManager[Span]:
    """One statement to PostgreSQL, if it belongs to something that is traced."""
    if active is None or not active.records():
        return OFF
    operation, target = summary(sql)
    said = {"db.system.name": "postgresql", "db.operation.name": operation}
    if target:
        said["db.collection.name"] = target
    name = f"{operation} {target}".strip() or "SQL"
    return active.span(name, "CLIENT", {**said, "db.query.summary": name})


def performed(use_case: str) -> AbstractContextManager[Span]:
    """A use case that one statement performs, perhaps together with those of other requests."""
    if active is None or not active.records():
        return OFF
    said = {
        "db.system.name": "postgresql",
        "db.operation.name": "SELECT",
        "db.query.summary": "SELECT perform",
        "db.stored_procedure.name": f"effect_of_{use_case}",
    }
    return active.span(f"perform {use_case}", "CLIENT", said)


def call(name: str, method: str, url: str) -> AbstractContextManager[Span]:
    """One call to the outside, such as `horizon.submit`, if it belongs to something that is traced."""
    if active is None or not active.records():
        return OFF
    parts = urlsplit(url)
    said: dict[str, str | int] = {
        "http.request.method": method,
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        "offerhub.call": name,
    }
    return active.span(f"{method} {name}", "CLIENT", said)


def responded(span: Span, status: int) -> None:
    """A call to the outside was answered. To the one who called, a refusal is a failure, too."""
    span.set("http.response.status_code", status)
    if status >= 400:
        span.fail(str(status))


def _message(queue: str, name: str, job_id: str, operation: str) -> dict[str, str | int]:
    return {
        "messaging.system": "bullmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "messaging.message.id": job_id,
        "offerhub.job": name,
    }


def handed_over(queue: str, name: str, job_id: str, traceparent: str | None) -> AbstractContextManager[Span]:
    """A job on its way into its queue, below what has caused it, if that is traced."""
    if active is None or traceparent is None:
        return OFF
    return active.span(f"send {queue}", "PRODUCER", _message(queue, name, job_id, "send"), under=traceparent)


def job(queue: str, name: str, job_id: str, attempt: int, metadata: str | None) -> AbstractContextManager[Span]:
    """One attempt at a job. `metadata` is what BullMQ keeps beside the job for this."""
    if active is None:
        return OFF
    said = {**_message(queue, name, job_id, "process"), "offerhub.attempt": attempt}
    return active.span(f"process {queue}", "CONSUMER", said, under=from_metadata(metadata))


def saga(kind: str, saga_id: str, subject_id: str, correlation_id: str | None) -> AbstractContextManager[Span]:
    """One drive of a saga, by whoever drives it: the request that began it, its job, or the sweeper."""
    if active is None:
        return OFF
    said = {"offerhub.saga": kind, "offerhub.saga_id": saga_id, "offerhub.subject": subject_id}
    if correlation_id is not None:
        said["offerhub.correlation_id"] = correlation_id
    return active.span(f"saga {kind}", "INTERNAL", said)


def step(kind: str, name: str) -> AbstractContextManager[Span]:
    """One attempt at a step of a saga."""
    if active is None or not active.records():
        return OFF
    return active.span(f"{kind} {name}", "INTERNAL", {"offerhub.saga": kind, "offerhub.step": name})


def carried() -> dict[str, str]:
    """What the outbox keeps beside a job's payload: the current span, or nothing."""
    traceparent = None if active is None else active.traceparent()
    return {} if traceparent is None else {CARRIED: traceparent}


def metadata(traceparent: str | None) -> dict[str, str]:
    """The option of a BullMQ job that hands the trace on: the current span, or else the one that is named.

    BullMQ has a place for this beside a job's data, `tm`, and its workers for Node with `bullmq-otel` read it.
    """
    if traceparent is None:
        return {}
    current = None if active is None else active.traceparent()
    return {"tm": json.dumps({CARRIED: current or traceparent})}


def from_metadata(text: object) -> str | None:
    """The traceparent in such an option; None when there is none. Whatever else is in it is ignored."""
    if not isinstance(text, str):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    traceparent = found.get(CARRIED) if isinstance(found, dict) else None
    return traceparent if isinstance(traceparent, str) else None
