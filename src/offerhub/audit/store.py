"""All SQL of reading and chaining the audit trail."""

from dataclasses import dataclass
from typing import Any, Final

from offerhub.audit.model import CONTENT, CREATING, DELETING, Entry, Search
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


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of sealing: how far it has got, and what could be seen of the trail when it began.

    `settled`, `pending` and `top` are positions. The others are transaction ids: `pending_until` is what `pending`
    waits for, `oldest` the lowest that was running, and `next` one above all that had ended.
    """

    settled: int
    pending: int
    pending_until: int
    sequence: int
    hash: bytes | None
    top: int
    oldest: int
    next: int


# An advisory lock, since one on a row would give this transaction its id before it has looked.
_LOCK: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('audit_sealing', 0))"
# After the lock, so that the end of the chain is the one that the last turn left.
_LOOK: Final = """
SELECT p.settled, p.pending, p.pending_until, coalesce(c.sequence, 0) AS sequence, c.hash,
    coalesce((SELECT max(position) FROM audit_entries), 0) AS top,
    pg_snapshot_xmin(now)::text::bigint AS oldest, pg_snapshot_xmax(now)::text::bigint AS next
FROM audit_sealing p, pg_current_snapshot() AS now
LEFT JOIN LATERAL (SELECT sequence, hash FROM audit_chain ORDER BY sequence DESC LIMIT 1) c ON true"""
_UNSEALED: Final = f"""
SELECT e.id, {CONTENT} AS content FROM audit_entries e
WHERE e.position > $1 AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.entry_id = e.id)
ORDER BY e.position LIMIT $2"""
_APPEND: Final = """
INSERT INTO audit_chain (sequence, entry_id, hash)
SELECT $1 + l.place, l.entry_id, l.hash
FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS l (entry_id, hash, place)"""
_SEAL: Final = "INSERT INTO audit_seals (last_sequence, key_version, seal) VALUES ($1, $2, $3)"
_PROGRESS: Final = """
UPDATE audit_sealing SET settled = $1, pending = $2, pending_until = pg_current_xact_id()::text::bigint"""
_LINKS: Final = f"""
SELECT c.sequence, c.entry_id, c.hash, CASE WHEN e.id IS NOT NULL THEN {CONTENT} END AS content
FROM audit_chain c LEFT JOIN audit_entries e ON e.id = c.entry_id
WHERE c.sequence > $1 ORDER BY c.sequence LIMIT $2"""
_STRANGERS: Final = """
SELECT e.id FROM audit_entries e WHERE e.position <= (SELECT settled FROM audit_sealing)
    AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.entry_id = e.id)
ORDER BY e.position LIMIT $1"""
_WAITING: Final = """
SELECT count(*) FROM audit_entries e WHERE e.position > (SELECT settled FROM audit_sealing)
    AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.entry_id = e.id)"""


async def begin_sealing(tx: Tx) -> Turn | None:
    """Take the turn of sealing until this transaction ends; None while another has it."""
    return Turn(*(await tx.one(_LOOK))) if await tx.value(_LOCK) else None


async def unsealed(tx: Tx, settled: int, limit: int) -> list[Row]:
    """The first entries (id, content) after a position that are in no link, in the order of their positions."""
    return await tx.rows(_UNSEALED, settled, limit)


async def append(tx: Tx, sequence: int, entry_ids: list[str], hashes: list[bytes]) -> None:
    """Add links after the one of that sequence."""
    await tx.execute(_APPEND, sequence, entry_ids, hashes)


async def keep_seal(tx: Tx, sequence: int, key_version: int, seal: bytes) -> None:
    """Keep the seal of the chain up to and with that link."""
    await tx.execute(_SEAL, sequence, key_version, seal)


async def note_progress(tx: Tx, turn: Turn) -> None:
    """After a turn that left nothing: move the position below which nothing will appear any more.

    A transaction has its id before it draws a position (migration 0032), and this one gets its own after it has seen
    `top`: whoever drew a position below `top` has a lower id. Once the oldest that runs is not below `pending_until`,
    those below `pending` have all ended, and this turn has seen what they wrote.
    """
    ended = turn.oldest >= turn.pending_until
    # A database that was restored elsewhere counts its transactions anew.
    elsewhere = turn.next < turn.pending_until
    if ended and turn.settled < turn.pending:
        await tx.execute(_PROGRESS, turn.pending, turn.top)
    elif (ended or elsewhere) and turn.pending < turn.top:
        await tx.execute(_PROGRESS, turn.settled, turn.top)


async def links(tx: Tx, after: int, limit: int) -> list[Row]:
    """Links after a sequence with their entries' content; None for an entry that is gone."""
    return await tx.rows(_LINKS, after, limit)


async def seals(tx: Tx) -> list[Row]:
    """Every seal, the newest first."""
    return await tx.rows("SELECT last_sequence, key_version, seal FROM audit_seals ORDER BY last_sequence DESC")


async def newest_seal(tx: Tx) -> int:
    """The sequence of the last link that is sealed; 0 before the first seal."""
    return int(await tx.value("SELECT coalesce(max(last_sequence), 0) FROM audit_seals"))


async def strangers(tx: Tx, limit: int) -> list[Row]:
    """Entries among those that are known to be sealed which are in no link."""
    return await tx.rows(_STRANGERS, limit)


async def waiting(tx: Tx) -> int:
    """How many entries are still to be sealed."""
    return int(await tx.value(_WAITING))
