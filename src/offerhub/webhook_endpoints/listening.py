"""Endpoints that fetch: for servers that nobody outside can call, such as a developer's own (`offerhub listen`).

They are endpoints like others, with a filter, a secret, lines, a log and re-deliveries; only the last step is turned
round. The listener asks for what is due, delivers it and says with its next question what came of it. A listener that
never says it gets the same deliveries again, under the same ids.
"""

from collections.abc import Sequence
from typing import Final

from offerhub.errors import InvalidState, invalid_field
from offerhub.kernel.clock import Clock
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.webhook_endpoints import attempts, lines, service, settlement
from offerhub.webhook_endpoints.delivery import Claimed, Result
from offerhub.webhook_endpoints.model import FETCHED_MAX, FetchResult
from offerhub.webhook_endpoints.settlement import Patience

LOOK_SECONDS: Final = 0.25
"""How often a waiting question looks for deliveries that are due."""


class Listening:
    """Answers listeners."""

    def __init__(self, database: Database, clock: Clock, patience: Patience) -> None:
        self._database = database
        self._clock = clock
        self._patience = patience

    async def fetch(
        self, actor: Actor, endpoint_id: str, results: Sequence[FetchResult], wait_seconds: float
    ) -> list[Claimed]:
        """Write down the results, then begin what is due; wait for it so long while there is nothing.

        Raises WebhookEndpointNotFound, InsufficientScope, InvalidState, ValidationFailed.
        """
        await self._database.run(lambda tx: self._take(tx, actor, endpoint_id, results))
        ends = self._clock.monotonic() + wait_seconds
        while True:
            found = await self._database.run(lambda tx: self._begin(tx, actor, endpoint_id))
            if found or self._clock.monotonic() >= ends:
                return found
            await self._clock.sleep(LOOK_SECONDS)

    async def _take(self, tx: Tx, actor: Actor, endpoint_id: str, results: Sequence[FetchResult]) -> None:
        await self._require(tx, actor, endpoint_id)
        await attempts.note_fetch(tx, endpoint_id)
        for one in results:
            await settlement.settle(tx, endpoint_id, _result(one), await lines.moment(tx), self._patience)

    async def _begin(self, tx: Tx, actor: Actor, endpoint_id: str) -> list[Claimed]:
        await self._require(tx, actor, endpoint_id)
        return await attempts.claim(tx, endpoint_id, await lines.moment(tx), FETCHED_MAX, [])

    @staticmethod
    async def _require(tx: Tx, actor: Actor, endpoint_id: str) -> None:
        endpoint = await service.require(tx, actor, endpoint_id)
        if endpoint.kind != "PULL":
            raise invalid_field("endpoint_id", "only endpoints of kind PULL fetch their deliveries")
        if endpoint.status != "ENABLED":
            raise InvalidState(currentState=endpoint.status, allowedStates=["ENABLED"])


def _result(told: FetchResult) -> Result:
    return Result(
        told.deliveryId,
        told.attempt,
        told.url,
        told.requestHeaders,
        status=told.responseStatus,
        response_headers=told.responseHeaders,
        response_body=told.responseBody,
        duration_ms=told.durationMs,
        error=told.error or (None if told.responseStatus is not None else "no answer"),
    )
