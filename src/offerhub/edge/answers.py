"""Answers on the wire: envelopes (contract 1.4), errors (contract 3) and the headers that every answer carries."""

from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.types import Send

from offerhub.errors import RateLimited, Refusal, Unauthorized
from offerhub.kernel.clock import to_wire
from offerhub.kernel.pages import Page
from offerhub.runtime.redaction import scrub
from offerhub.runtime.routes import Document, Envelope, Redirect

Headers = list[tuple[bytes, bytes]]

COMMON_HEADERS: Final[Headers] = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]

_URL_CHARACTERS: Final = "!#$%&'()*+,/:;=?@[]~"
"""What an URL is made of besides letters, digits, `_`, `.` and `-`."""

_encoder = msgspec.json.Encoder()


class Reply(msgspec.Struct, frozen=True):
    """An answer ready to be sent, and to be stored for replay."""

    status: int
    body: bytes
    headers: Headers = []

    async def send(self, send: Send, extra: Headers) -> None:
        """Send it with the headers that every answer carries, and the request's own."""
        length = (b"content-length", b"%d" % len(self.body))
        own = {name for name, _ in self.headers}
        common = [header for header in COMMON_HEADERS if header[0] not in own] if own else COMMON_HEADERS
        headers = [*common, length, *extra, *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def success(envelope: Envelope, data: Any, status: int, correlation_id: str, now: datetime) -> Reply:
    """Wrap what a handler returned. Raises TypeError when it is not what the envelope needs: a fault of ours."""
    wrapped = _WRAP[envelope](data)
    wrapped["meta"] = {"requestId": correlation_id, "timestamp": to_wire(now)}
    return Reply(status, _encoder.encode(wrapped))


def document(found: Document) -> Reply:
    """Something else than an envelope, such as a page; whoever keeps it must ask whether it has changed."""
    headers = [(b"content-type", found.media_type.encode("ascii")), (b"cache-control", b"no-cache")]
    if found.content_security_policy is not None:
        headers.append((b"content-security-policy", found.content_security_policy.encode("ascii")))
    return Reply(200, found.content, headers)


def redirect(found: Redirect) -> Reply:
    """The way on for a browser. What an URL may not hold as it is, such as a line's end, is escaped."""
    location = quote(found.location, safe=_URL_CHARACTERS)
    return Reply(302, b"", [(b"content-type", b"text/plain; charset=utf-8"), (b"location", location.encode("ascii"))])


def _data(data: Any) -> dict[str, Any]:
    return {"data": data}


def _success(data: Any) -> dict[str, Any]:
    return {"success": True, "data": data}


def _flat(data: Any) -> dict[str, Any]:
    fields = msgspec.to_builtins(data)
    if not isinstance(fields, dict) or "data" in fields or "meta" in fields:
        raise TypeError("a flat answer is an object without `data` and `meta`")
    return {**fields, "data": fields}


def _list(page: Page) -> dict[str, Any]:
    cursor, more = page.next_cursor, page.has_more
    top = {"success": True, "data": page.items, "hasMore": more}
    if cursor is not None:
        top["nextCursor"] = cursor
    spellings = {"hasMore": more, "nextCursor": cursor, "has_more": more, "next_cursor": cursor}
    return {**top, "pagination": spellings}


def _page(page: Page) -> dict[str, Any]:
    return {"data": page.items, "pagination": {"hasMore": page.has_more, "nextCursor": page.next_cursor}}


_WRAP: Final = {
    Envelope.DATA: _data,
    Envelope.SUCCESS: _success,
    Envelope.FLAT: _flat,
    Envelope.LIST: _list,
    Envelope.PAGE: _page,
}


def failure(refusal: Refusal, correlation_id: str) -> Reply:
    """A refusal on the wire; its details always name the request.

    It may be kept as the answer of its key, and repeats what was sent: a credential in the wrong place is masked.
    """
    error = {
        "code": refusal.code,
        "message": refusal.message,
        "details": {**refusal.details, "requestId": correlation_id},
    }
    headers: Headers = []
    wait = refusal.details.get("retryAfter") if isinstance(refusal, RateLimited) else refusal.retry_after_seconds
    if wait is not None:
        headers.append((b"retry-after", b"%d" % wait))
    if refusal.status == Unauthorized.status:
        headers.append((b"www-authenticate", b"Bearer"))
    allowed = refusal.details.get("allow")
    if allowed is not None:
        headers.append((b"allow", ", ".join(allowed).encode("ascii")))
    return Reply(refusal.status, scrub(_encoder.encode({"error": error}).decode()).encode(), headers)
