"""The route of the audit trail (contract 2.13)."""

from datetime import UTC, datetime

from offerhub.audit import service
from offerhub.audit.model import AuditEntryAnswer, ListEntries, Search
from offerhub.errors import invalid_field
from offerhub.kernel.pages import Page
from offerhub.runtime.routes import Call, Envelope, Route


def routes() -> tuple[Route, ...]:
    """The route."""
    return (
        Route("GET", "/audit/logs", "audit.list", "List the audit trail, newest first.",
              _list, scope="support", domain="audit", envelope=Envelope.PAGE, query=ListEntries, unit="read",
              answer=AuditEntryAnswer),
    )  # fmt: skip


async def _list(call: Call) -> Page:
    query: ListEntries = call.query
    wanted = Search(
        query.resourceType,
        query.resourceId,
        query.action,
        query.userId,
        _moment("from", query.since),
        _moment("to", query.until),
    )
    found = await service.search(call.tx, call.actor, wanted, query)
    return Page([entry.wire() for entry in found.items], found.next_cursor)


def _moment(name: str, text: str | None) -> datetime | None:
    """An ISO 8601 date or time; without an offset it is in UTC. Raises ValidationFailed."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid_field(name, f"{name} must be an ISO 8601 date or time, such as 2026-01-31T12:00:00Z") from None
