"""Background work of webhooks: looking into what was taken in."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from offerhub.errors import Refusal
from offerhub.orders import service as orders
from offerhub.providers.airtm.client import Airtm
from offerhub.runtime.actor import system
from offerhub.runtime.cancellation import end
from offerhub.runtime.database import Database, Tx
from offerhub.sagas.engine import Engine
from offerhub.topups import service as topups
from offerhub.webhooks import store
from offerhub.webhooks.model import Provider, WebhookEvent
from offerhub.webhooks.states import WEBHOOK_EVENT
from offerhub.withdrawals import jobs as withdrawals
from offerhub.withdrawals import refunds
from offerhub.withdrawals import service as withdrawing
from offerhub.withdrawals.states import WITHDRAWAL

BULK_SECONDS_MAX: Final = 3.0
"""How long the looks of a bulk may take; what is not done by then is a job of its own."""
RETENTION_DAYS: Final = 30
PURGE_BATCH: Final = 1_000
ENDED: Final = WEBHOOK_EVENT.terminal

_About = tuple[Provider, str | None]
"""A provider, and the id of ours that its news names."""

log = structlog.get_logger("offerhub.webhooks")


def _key(payload: Mapping[str, Any]) -> store.Key:
    return payload["provider"], payload["eventId"]


class NotYetKnown(Exception):
    """The provider was quicker than our own call's answer: look again later."""


async def purge(tx: Tx) -> int:
    """Forget a batch of events whose time is over; returns how many. So late a repetition fails its time check."""
    return await store.purge(tx, RETENTION_DAYS, PURGE_BATCH)


@dataclass(frozen=True, slots=True)
class Processing:
    """Looks into events of the inbox; safe to run twice, at the same time, and in any order."""

    database: Database
    engine: Engine
    airtm: Airtm | None
    looks_max: int
    """So many looks of a bulk at a time, as of the queue's jobs: what users wait for must find the provider free."""

    async def process(self, payload: Mapping[str, Any]) -> None:
        """One job. Raises when it must be tried again: the provider did not answer, or does not show it yet."""
        events = await self._open([payload])
        if not events:
            return
        [event] = events
        try:
            status, outcome = await self._look(event)
        except (Refusal, NotYetKnown) as error:
            reason = str(error) or type(error).__name__
            await self.database.run(lambda tx: store.end(tx, [(event, "FAILED", reason)]))
            raise
        await self.database.run(lambda tx: store.end(tx, [(event, status, outcome)]))
        log.info("webhook_processed", provider=event.provider, kind=event.event_type, status=status, outcome=outcome)

    async def process_in_bulk(self, payloads: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Look into many at once, at what several of them name only once; says of each whether it has ended.

        What has not is left as it is: the provider did not answer, not soon enough, or does not show it yet.
        """
        events = await self._open(payloads)
        found = await self._looks({(event.provider, event.subject): event for event in events})
        ended, left = [], set()
        for event in events:
            if (became := found.get((event.provider, event.subject))) is None:
                left.add((event.provider, event.event_id))
            else:
                ended.append((event, *became))
        if ended:
            await self.database.run(lambda tx: store.end(tx, ended))
            log.info("webhooks_processed", events=len(ended), looks=len(found), left=len(left))
        return [_key(payload) not in left for payload in payloads]

    async def _open(self, payloads: Sequence[Mapping[str, Any]]) -> list[WebhookEvent]:
        """The events of these jobs that have not ended."""
        keys = [_key(payload) for payload in payloads]
        found = await self.database.run(lambda tx: store.get(tx, keys), read_only=True)
        return [event for event in found.values() if event.status not in ENDED]

    async def _looks(self, about: Mapping[_About, WebhookEvent]) -> dict[_About, tuple[str, str]]:
        """What became of each; one that failed, or is not done in time, is not there."""
        free = asyncio.Semaphore(self.looks_max)

        async def look(event: WebhookEvent) -> tuple[str, str]:
            async with free:
                return await self._look(event)

        tasks = {key: asyncio.create_task(look(event)) for key, event in about.items()}
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=BULK_SECONDS_MAX)
        finally:
            await end(*(task for task in tasks.values() if not task.done()))
        found: dict[_About, tuple[str, str]] = {}
        for key, task in tasks.items():
            if task.cancelled():
                continue
            if (error := task.exception()) is None:
                found[key] = task.result()
            else:
                log.debug("webhook_look_failed", provider=key[0], subject=key[1], error=repr(error))
        return found

    async def _look(self, event: WebhookEvent) -> tuple[str, str]:
        assert event.subject is not None
        if event.provider == "TRUSTLESS_WORK":
            return await self._at_contract(event.subject)
        if self.airtm is None:
            return "IGNORED", "Airtm is not in use here"
        if event.subject.startswith("topup_"):
            return await self._at_payin(self.airtm, event.subject)
        return await self._at_payout(self.airtm, event.subject)

    async def _at_payin(self, airtm: Airtm, topup_id: str) -> tuple[str, str]:
        topup = await self.database.run(lambda tx: topups.find(tx, topup_id), read_only=True)
        if topup is None:
            return "IGNORED", "there is no such top-up"
        if topup.airtm_payin_id is None:
            raise NotYetKnown("the payin's own creation has not been answered yet")
        actor = system(topup.marketplace_id, "airtm")
        return "PROCESSED", (await topups.check(self.database, airtm, actor, topup)).status

    async def _at_payout(self, airtm: Airtm, withdrawal_id: str) -> tuple[str, str]:
        withdrawal = await self.database.run(lambda tx: withdrawing.find(tx, withdrawal_id), read_only=True)
        if withdrawal is None:
            return "IGNORED", "there is no such withdrawal"
        if withdrawal.airtm_payout_id is None:
            raise NotYetKnown("the payout's own creation has not been answered yet")
        found = await withdrawals.refresh(self.database, airtm, withdrawal)
        if withdrawal.status in WITHDRAWAL.terminal:
            # News of what has ended: the payout may have been given back.
            await refunds.follow(self.database, airtm)
        return "PROCESSED", found.status

    async def _at_contract(self, order_id: str) -> tuple[str, str]:
        """News of a contract: whatever of ours is under way for its order looks at the chain at once."""
        order = await self.database.run(lambda tx: orders.find(tx, order_id), read_only=True)
        if order is None:
            return "IGNORED", "there is no such order"
        found = await self.engine.resume(order_id)
        return "PROCESSED", f"{found.sagas} under way" if found.sagas else "nothing is under way"
