"""Background work of webhooks out, beside dispatching and sending: ending what nobody takes, forgetting the old."""

from collections.abc import Awaitable, Callable
from typing import Final

from offerhub.runtime.actor import system
from offerhub.runtime.database import Tx
from offerhub.webhook_endpoints import attempts, lines, service, store

BATCH: Final = 1_000
LISTENERS_HOURS: Final = 24
"""An endpoint that fetches, and has not done so for this long, is deleted."""
LISTENERS_BATCH: Final = 50


async def cancel_stopped(tx: Tx) -> int:
    """End a batch of what waits for endpoints that are disabled or deleted; returns how many."""
    return await lines.cancel_stopped(tx, BATCH)


def purging(retention_days: int) -> Callable[[Tx], Awaitable[int]]:
    """A chore that forgets what has been kept for its time; it returns how much it forgot."""

    async def purge(tx: Tx) -> int:
        forgotten = await attempts.forgotten_listeners(tx, LISTENERS_HOURS, LISTENERS_BATCH)
        for marketplace_id, endpoint_id in forgotten:
            endpoint = await store.get(tx, marketplace_id, endpoint_id)
            if endpoint is not None:
                await service.delete(tx, system(marketplace_id, "webhooks"), endpoint)
        old = await lines.purge(tx, retention_days, BATCH)
        old += await store.purge_secrets(tx, BATCH)
        return len(forgotten) + old + await store.purge_deleted(tx, BATCH)

    return purge
