"""Use cases of top-ups."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from offerhub.errors import InvalidState, ProviderNotEnabled, ProviderTimeout, Refusal, TopUpNotFound
from offerhub.events.journal import AuditEntry, Event
from offerhub.kernel.money import format_amount
from offerhub.providers.airtm.client import Airtm
from offerhub.providers.airtm.model import Rejected, Unavailable
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Database, Tx
from offerhub.sagas.engine import Engine
from offerhub.topups import settlement, store
from offerhub.topups.model import TopUp
from offerhub.topups.settlement import CanceledBy
from offerhub.topups.states import AWAITING
from offerhub.users.linking import require_linked

CREATE: Final = "topup.create"
CALLBACK_SECONDS_MAX: Final = 5
"""How long a browser on its way back waits for what Airtm says."""
TOO_LATE: Final = "415030"
"""Airtm's code for a payin that can no longer be canceled."""

log = structlog.get_logger("offerhub.topups")


class Request(NamedTuple):
    """What the caller asks for: units from a user's Airtm account."""

    user_id: str
    amount: int
    currency: str
    description: str | None


@dataclass(frozen=True, slots=True)
class ReturnAddresses:
    """Where browsers go: to us (`<callback_base>/<top-up id>/callback`), and from there to the marketplace."""

    callback_base: str
    success: str
    cancel: str


async def require(tx: Tx, actor: Actor, topup_id: str) -> TopUp:
    """The top-up, of the key's own user if it has one. Raises TopUpNotFound."""
    found = await store.get(tx, actor.marketplace_id, topup_id)
    if found is None or actor.bound_user_id not in (None, found.user_id):
        raise TopUpNotFound(topupId=topup_id[:64])
    return found


async def find(tx: Tx, topup_id: str) -> TopUp | None:
    """The top-up of whichever marketplace, for what a provider tells."""
    return await store.find(tx, topup_id)


async def check(
    database: Database, airtm: Airtm, actor: Actor, topup: TopUp, canceled_by: CanceledBy = "system"
) -> TopUp:
    """Ask Airtm about a top-up's payin and apply the answer. Raises what Airtm's client raises."""
    assert topup.airtm_payin_id is not None
    payin = await airtm.payin(topup.airtm_payin_id)
    if payin is None:
        return await database.run(lambda tx: settlement.missing(tx, topup))
    return await database.run(lambda tx: settlement.apply(tx, actor, topup, payin, canceled_by=canceled_by))


def _not_cancelable(topup: TopUp) -> InvalidState:
    allowed = [AWAITING]
    return InvalidState(
        topupId=topup.id,
        currentStatus=topup.status,
        allowedStatuses=allowed,
        currentState=topup.status,
        allowedStates=allowed,
    )


class TopUps:
    """Starting top-ups and following them. Without Airtm there are only old ones to be read."""

    def __init__(
        self, engine: Engine, database: Database, airtm: Airtm | None, addresses: ReturnAddresses | None
    ) -> None:
        self._engine = engine
        self._database = database
        self._airtm = airtm
        self._addresses = addresses

    async def begin(self, tx: Tx, actor: Actor, asked: Request) -> tuple[TopUp, str]:
        """Record a top-up and start asking Airtm for its payin; returns it and the saga's id.

        Raises ProviderNotEnabled, UserNotFound, UserNotActive, AirtmUserNotLinked.
        """
        if self._addresses is None:
            raise ProviderNotEnabled(provider="airtm")
        linked = await require_linked(tx, actor.marketplace_id, asked.user_id)
        created = await store.insert(
            tx,
            actor.marketplace_id,
            asked.user_id,
            linked.airtm_user_id,
            asked.amount,
            asked.currency,
            asked.description,
        )
        payload = {
            "topupId": created.id,
            "userId": created.user_id,
            "amount": format_amount(created.amount),
            "currency": created.currency,
        }
        values = {
            "email": linked.airtm_email,
            "airtmUserId": linked.airtm_user_id,
            "amount": int(created.amount),
            "description": asked.description or f"Top-up {created.id}",
            # One address for either way back: what became of the payment is read at Airtm, not from the address.
            "returnUri": f"{self._addresses.callback_base}/{created.id}/callback",
        }
        saga_id = await self._engine.start(
            tx,
            actor,
            CREATE,
            created.id,
            values,
            events=[Event("topup.created", "TopUp", created.id, payload, created.user_id)],
            audit=[AuditEntry("TOPUP_CREATED", "TopUp", created.id, after=payload, user_id=created.user_id)],
        )
        return created, saga_id

    async def refresh(self, actor: Actor, topup_id: str) -> TopUp:
        """The top-up after a look at Airtm; unchanged when it has ended or has no payin yet.

        Raises TopUpNotFound, ProviderNotEnabled, and what Airtm's client raises.
        """
        topup = await self._database.run(lambda tx: require(tx, actor, topup_id), read_only=True)
        if topup.is_settled or topup.airtm_payin_id is None:
            return topup
        return await check(self._database, self._enabled(), actor, topup)

    async def cancel(self, actor: Actor, topup_id: str, canceled_by: CanceledBy = "user") -> TopUp:
        """Cancel at Airtm, then here. Where Airtm says no or nothing, its payin decides.

        Raises TopUpNotFound, InvalidState, ProviderNotEnabled, ProviderTimeout while nobody knows, and what Airtm's
        client raises.
        """
        topup = await self._database.run(lambda tx: require(tx, actor, topup_id), read_only=True)
        if topup.status != AWAITING:
            raise _not_cancelable(topup)
        assert topup.airtm_payin_id is not None
        airtm = self._enabled()
        outcome = await airtm.cancel_payin(topup.airtm_payin_id)
        if isinstance(outcome, Unavailable) or (isinstance(outcome, Rejected) and outcome.reason_code != TOO_LATE):
            raise outcome.refusal
        found = await check(self._database, airtm, actor, topup, canceled_by=canceled_by)
        if found.status == "TOPUP_CANCELED":
            return found
        if found.status == AWAITING:
            raise ProviderTimeout("Airtm has not canceled the payment yet.", topupId=topup.id)
        raise _not_cancelable(found)

    async def came_back(self, topup_id: str, correlation_id: str | None) -> str:
        """Where the browser of a user goes that Airtm has sent to us, after a look at what became of the payment.

        Raises TopUpNotFound where there is no Airtm.
        """
        if self._airtm is None or self._addresses is None:
            raise TopUpNotFound(topupId=topup_id[:64])
        topup = await self._database.run(lambda tx: store.find(tx, topup_id), read_only=True)
        if topup is None:
            return self._addresses.cancel
        if not topup.is_settled and topup.airtm_payin_id is not None:
            actor = system(topup.marketplace_id, "topups", correlation_id)
            with contextlib.suppress(Refusal, TimeoutError):
                async with asyncio.timeout(CALLBACK_SECONDS_MAX):
                    topup = await check(self._database, self._airtm, actor, topup)
        is_paid = topup.status in ("TOPUP_SUCCEEDED", "TOPUP_PROCESSING")
        return self._addresses.success if is_paid else self._addresses.cancel

    def _enabled(self) -> Airtm:
        if self._airtm is None:
            raise ProviderNotEnabled(provider="airtm")
        return self._airtm
