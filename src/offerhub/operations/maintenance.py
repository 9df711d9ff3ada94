"""Maintenance mode: the service is read-only while an operator works on it (contract 1.11, 2.14).

The switch is one row for the whole installation. Every process reads it at most once a second, so that a second
after the switch nobody accepts a change any more. What was accepted before is finished: sagas go on, and deposits
are credited, because money that is on its way must arrive.
"""

from dataclasses import dataclass
from typing import Any, Final

from offerhub.access.service import require_operator
from offerhub.errors import MaintenanceMode, Refusal
from offerhub.events.journal import AuditEntry, record
from offerhub.kernel.clock import Clock, to_wire
from offerhub.operations import store
from offerhub.operations.model import Maintenance
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx

CACHE_SECONDS: Final = 1.0
MESSAGE_DEFAULT: Final = "The service is read-only for maintenance."


async def status(tx: Tx) -> Maintenance | None:
    """Maintenance as it is, None when it is off."""
    return await store.maintenance(tx)


async def enable(tx: Tx, actor: Actor, message: str | None) -> Maintenance:
    """Make the service read-only; enabling it again changes the message. Raises InsufficientScope."""
    require_operator(actor)
    before = await store.lock_maintenance(tx)
    after = await store.enable_maintenance(tx, message or MESSAGE_DEFAULT, actor.credential_id)
    await _record(tx, actor, "MAINTENANCE_ENABLED", before, after)
    return after


async def halt(tx: Tx, actor: Actor, message: str) -> None:
    """Make the service read-only because it has found out itself that it must not go on. It is told once."""
    if await store.lock_maintenance(tx) is None:
        after = await store.enable_maintenance(tx, message, actor.credential_id)
        await _record(tx, actor, "MAINTENANCE_ENABLED", None, after)


async def disable(tx: Tx, actor: Actor) -> None:
    """Accept changes again. Changes nothing when it is off already. Raises InsufficientScope."""
    require_operator(actor)
    before = await store.lock_maintenance(tx)
    if before is None:
        return
    await store.disable_maintenance(tx)
    await _record(tx, actor, "MAINTENANCE_DISABLED", before, None)


async def _record(tx: Tx, actor: Actor, action: str, before: Maintenance | None, after: Maintenance | None) -> None:
    entry = AuditEntry(action, "Maintenance", "installation", _told(before), _told(after))
    await record(tx, actor, audit=[entry])


def _told(state: Maintenance | None) -> dict[str, Any]:
    if state is None:
        return {"enabled": False}
    return {
        "enabled": True,
        "message": state.message,
        "enabledAt": to_wire(state.enabled_at),
        "enabledBy": state.enabled_by,
    }


@dataclass(frozen=True, slots=True)
class _Seen:
    state: Maintenance | None
    until: float


class MaintenanceGate:
    """What the edge asks before it lets a change through; remembers the answer for at most a second."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._seen: _Seen | None = None

    async def refusal(self) -> Refusal | None:
        """Why changes are not accepted now, None when they are."""
        # Counted from before the reading, so that what is remembered is never older than that.
        now = self._clock.monotonic()
        seen = self._seen
        if seen is None or seen.until <= now:
            seen = _Seen(await self._database.run(store.maintenance, read_only=True), now + CACHE_SECONDS)
            self._seen = seen
        if seen.state is None:
            return None
        return MaintenanceMode(
            seen.state.message, message=seen.state.message, enabledAt=to_wire(seen.state.enabled_at)
        )
