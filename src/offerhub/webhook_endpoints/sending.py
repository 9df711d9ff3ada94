"""Sending: a job works for one endpoint until nothing is due there, several deliveries at a time.

One job per endpoint at a time, held by a lease, is what keeps an endpoint that hangs from taking the places of all
others, and what bounds how much an endpoint gets at once. Between begin and end of a delivery no transaction is open.
A process that dies leaves the lease to run out; the next one finds what is due and sends it again under the same id.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog

from offerhub.kernel.clock import Clock
from offerhub.runtime.cancellation import end
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.http import HttpClient, NoAnswer, NotSent, Response
from offerhub.runtime.targets import Targets
from offerhub.runtime.vault import Sealed, VaultError
from offerhub.webhook_endpoints import attempts, lines, settlement, store
from offerhub.webhook_endpoints.delivery import Claimed, Result
from offerhub.webhook_endpoints.dispatch import Moment
from offerhub.webhook_endpoints.model import (
    ERROR_CHARACTERS_KEPT,
    HEADER_CHARACTERS_KEPT,
    HEADERS_KEPT,
    RESPONSE_BYTES_KEPT,
)
from offerhub.webhook_endpoints.schedule import asked_for
from offerhub.webhook_endpoints.settlement import Patience
from offerhub.webhook_endpoints.signing import SecretBox

AT_A_TIME: Final = 8
"""How many deliveries one endpoint gets at once."""
LEASE_MARGIN_SECONDS: Final = 10.0
"""The lease outlives the longest attempt by this much, or two would send at once."""
TURN_SECONDS: Final = 20.0
"""How long a job begins new attempts before it lets other endpoints have its place."""
LOOK_SECONDS: Final = 0.25
"""How often a job looks for what has become due while attempts are under way."""

log = structlog.get_logger("offerhub.webhook_endpoints")


class _Work:
    """What one claim has brought."""

    __slots__ = ("claimed", "now", "secrets", "url")

    def __init__(self, claimed: list[Claimed], url: str, secrets: list[tuple[int, Sealed]], now: datetime) -> None:
        self.claimed = claimed
        self.url = url
        self.secrets = secrets
        self.now = now


class Sender:
    """Sends what is due. Its HTTP client has the guard that belongs to `targets`."""

    def __init__(
        self,
        database: Database,
        http: HttpClient,
        targets: Targets,
        box: SecretBox,
        clock: Clock,
        patience: Patience,
        *,
        timeout_seconds: float,
        moment: Moment = lines.moment,
    ) -> None:
        self._database = database
        self._http = http
        self._targets = targets
        self._box = box
        self._clock = clock
        self._patience = patience
        self._timeout_seconds = timeout_seconds
        self._moment = moment

    @property
    def lease_seconds(self) -> float:
        """How long an endpoint waits for a sender that has died."""
        return self._timeout_seconds + LEASE_MARGIN_SECONDS

    async def send(self, payload: Mapping[str, Any]) -> None:
        """One job: send to the endpoint until nothing is due; whoever sends there already makes it superfluous."""
        endpoint_id = payload["endpointId"]
        term = await self._database.run(lambda tx: attempts.take_lease(tx, endpoint_id, self.lease_seconds))
        if term is None:
            return
        underway: dict[asyncio.Task[None], str] = {}
        try:
            await self._work(endpoint_id, term, underway)
        finally:
            await end(*underway)
            give_back = self._database.run(lambda tx: attempts.give_lease_back(tx, endpoint_id, term))
            await asyncio.shield(give_back)

    async def _work(self, endpoint_id: str, term: int, underway: dict[asyncio.Task[None], str]) -> None:
        ends = self._clock.monotonic() + TURN_SECONDS
        while True:
            free = AT_A_TIME - len(underway)
            if free and self._clock.monotonic() < ends:
                busy = list(underway.values())
                work = await self._database.run(partial(self._claim, endpoint_id, term, free, busy))
                for claimed in work.claimed if work else ():
                    assert work is not None
                    underway[asyncio.create_task(self._deliver(endpoint_id, work, claimed))] = claimed.delivery_id
            if not underway:
                return
            done, _ = await asyncio.wait(underway, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del underway[task]
                task.result()

    async def _claim(self, endpoint_id: str, term: int, limit: int, busy: list[str], tx: Tx) -> _Work | None:
        now = await self._moment(tx)
        url = await attempts.renew_lease(tx, endpoint_id, term, self.lease_seconds, now)
        if url is None:
            return None
        claimed = await attempts.claim(tx, endpoint_id, now, limit, busy)
        return _Work(claimed, url, await store.signing_secrets(tx, endpoint_id), now) if claimed else None

    async def _deliver(self, endpoint_id: str, work: _Work, claimed: Claimed) -> None:
        result = await self._attempt(endpoint_id, work, claimed)
        log.info(
            "webhook_sent",
            endpoint=endpoint_id,
            delivery=claimed.delivery_id,
            attempt=claimed.attempt,
            status=result.status,
            error=result.error,
            duration_ms=result.duration_ms,
        )

        async def settle(tx: Tx) -> None:
            await settlement.settle(tx, endpoint_id, result, await self._moment(tx), self._patience)

        await self._database.run(settle)

    async def _attempt(self, endpoint_id: str, work: _Work, claimed: Claimed) -> Result:
        refusal = self._targets.refusal(work.url)
        if refusal is not None:
            return _failed(claimed, work.url, None, f"not sent: {refusal}", None)
        try:
            headers = self._box.sign(endpoint_id, work.secrets, claimed.event_id, work.now, claimed.body)
        except VaultError as error:
            return _failed(claimed, work.url, None, f"not signed: {error}", None)
        began = self._clock.monotonic()
        try:
            answer = await self._http.call(
                "POST",
                work.url,
                name="webhook",
                timeout_seconds=self._timeout_seconds,
                headers=headers,
                body=claimed.body,
                response_bytes_max=RESPONSE_BYTES_KEPT,
                cut=True,
            )
        except (NotSent, NoAnswer) as error:
            return _failed(claimed, work.url, headers, _reason(error), self._since(began))
        return _answered(claimed, work, headers, answer, self._since(began))

    def _since(self, began: float) -> int:
        return round((self._clock.monotonic() - began) * 1000)


def _answered(claimed: Claimed, work: _Work, headers: dict[str, str], answer: Response, duration_ms: int) -> Result:
    kept = list(answer.headers.items())[:HEADERS_KEPT]
    return Result(
        claimed.delivery_id,
        claimed.attempt,
        work.url,
        headers,
        status=answer.status,
        response_headers={name: _text(value, HEADER_CHARACTERS_KEPT) for name, value in kept},
        response_body=_text(answer.text, RESPONSE_BYTES_KEPT),
        is_cut=answer.is_cut,
        duration_ms=duration_ms,
        asked_seconds=asked_for(answer.headers.get("retry-after"), work.now),
    )


def _failed(
    claimed: Claimed, url: str, headers: dict[str, str] | None, error: str, duration_ms: int | None
) -> Result:
    return Result(
        claimed.delivery_id,
        claimed.attempt,
        url,
        headers,
        duration_ms=duration_ms,
        error=_text(error, ERROR_CHARACTERS_KEPT),
    )


def _reason(error: NotSent | NoAnswer) -> str:
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return "no complete answer in time"
    return str(cause or error) or type(cause or error).__name__


def _text(text: str, characters_max: int) -> str:
    """Text that PostgreSQL can keep."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:characters_max]
