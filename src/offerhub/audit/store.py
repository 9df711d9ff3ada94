"""All SQL of reading the audit trail."""

from typing import Any, Final

from offerhub.audit.model import CREATING, DELETING, Entry, Search
from offerhub.kernel.pages import Page
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.paging import PageQuery, fetch

_SELECT: Final = """
SELECT id, occurred_at, action, resource_type, resource_id, user_id, payload_before, payload_after,
    actor_type, actor_id, result, correlation_id
FROM audit_entries"""

_CLASSES: Final = {
    "CREATE": ("action ~* ?", CREATING),
    "DELETE": ("action ~* ?", DELETING),
    "UPDATE": ("action !~* ?", f"{CREATING}|{DELETING}"),
}


def _entry(row: Row) -> Entry:
    return Entry(
        row["id"],
        row["occurred_at"],
        row["action"],
        row["resource_type"],
        row["resource_id"],
        row["user_id"],
        row["payload_before"],
        row["payload_after"],
        row["actor_type"],
        row["actor_id"],
        row["result"],
        row["correlation_id"],
    )


async def entries(tx: Tx, marketplace_id: str, search: Search, bound_to: str | None, query: PageQuery) -> Page:
    """One page of the marketplace's entries; `bound_to` narrows to what a bound caller may see.

    Raises ValidationFailed for an unknown cursor.
    """
    action, value = _CLASSES.get(search.action or "", ("action", search.action))
    filters: dict[str, Any] = {
        "lower(resource_type) = lower(?)": search.resource_type,
        "resource_id": search.resource_id,
        action: value,
        "user_id": search.user_id,
        "user_id = ?": bound_to,
        "occurred_at >= ?": search.since,
        # The wire shows milliseconds, the database keeps microseconds: an entry is found by the time it shows.
        "occurred_at < ?::timestamptz + interval '1 millisecond'": search.until,
    }
    found = await fetch(tx, marketplace_id, _SELECT, "audit_entries", filters, query)
    return Page([_entry(row) for row in found.items], found.next_cursor)
