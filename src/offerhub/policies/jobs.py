"""Background work of policies: find what is due, and let it happen."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, get_args

import structlog

from offerhub.errors import Refusal
from offerhub.policies import service, store
from offerhub.policies.model import Due, Name
from offerhub.policies.service import Firing
from offerhub.runtime.database import Database, Tx
from offerhub.topups.service import TopUps

BATCH: Final = 100
"""How many of each marketplace and policy one run takes; the rest is the next one's."""

log = structlog.get_logger("offerhub.policies")


@dataclass(frozen=True, slots=True)
class Report:
    """How much was due, how much of it has happened, and how much was refused or could not be done yet."""

    due: int
    fired: int
    failed: int


async def apply_policies(database: Database, firing: Firing, topups: TopUps) -> Report:
    """Let happen what is due. May be interrupted anywhere, and run beside itself: each firing is written once."""
    found = fired = failed = 0
    for name in get_args(Name):
        for one in await database.run(partial(_due, firing, name), read_only=True):
            found += 1
            act = (
                partial(_expire, database, firing, topups)
                if name == "topupExpiry"
                else partial(_fire, database, firing)
            )
            done, refused = await _try(act, one)
            fired += done
            failed += refused
    return Report(found, fired, failed)


async def _due(firing: Firing, name: Name, tx: Tx) -> list[Due]:
    return await store.due(tx, name, await firing.now(tx), BATCH)


async def _try(act: Callable[[Due], Awaitable[str | None]], one: Due) -> tuple[bool, bool]:
    try:
        outcome = await act(one)
    except Refusal as refusal:
        log.warning("policy_refused", policy=one.policy, subject_id=one.subject_id, code=refusal.code)
        return False, True
    if outcome is not None:
        log.info("policy_fired", policy=one.policy, subject_id=one.subject_id, outcome=outcome)
    return outcome is not None, False


async def _fire(database: Database, firing: Firing, one: Due) -> str | None:
    """Let it happen. Raises Refusal when the use case refuses what is still due, which is then written down."""
    try:
        return await database.run(lambda tx: firing.fire(tx, one))
    except Refusal as refusal:
        told = refusal
        if await database.run(lambda tx: firing.refused(tx, one, told)):
            raise
        return None


async def _expire(database: Database, firing: Firing, topups: TopUps, one: Due) -> str | None:
    """Cancel a top-up at Airtm, then here. While nobody knows what became of it, it stays due."""
    if not await database.run(lambda tx: firing.is_due(tx, one)):
        return None
    await topups.cancel(service.actor_of(one), one.subject_id, canceled_by="system")
    return "CANCELED" if await database.run(lambda tx: service.note(tx, one, "CANCELED")) else None
