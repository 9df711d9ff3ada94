"""Use cases of webhook endpoints: making, changing and testing them, and the secrets that sign for them."""

from typing import Any, Final

from offerhub.errors import (
    InsufficientScope,
    InvalidState,
    WebhookDeliveryNotFound,
    WebhookEndpointLimit,
    WebhookEndpointNotFound,
    WebhookUrlForbidden,
    invalid_field,
)
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.events.names import matching
from offerhub.events.service import place
from offerhub.kernel.clock import to_wire
from offerhub.kernel.pages import Page
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.targets import Targets
from offerhub.webhook_endpoints import attempts, lines, signing, store
from offerhub.webhook_endpoints.delivery import Delivery
from offerhub.webhook_endpoints.lines import Wanted
from offerhub.webhook_endpoints.model import (
    DISABLED_EVENT,
    ENDPOINTS_MAX,
    EVERY_EVENT,
    TEST_EVENT,
    CreateWebhookEndpoint,
    DisabledReason,
    Endpoint,
    UpdateWebhookEndpoint,
    WebhookSecretAnswer,
)
from offerhub.webhook_endpoints.signing import SecretBox
from offerhub.webhook_endpoints.states import WEBHOOK_ENDPOINT

RESOURCE: Final = "WebhookEndpoint"


def require_marketplace(actor: Actor) -> None:
    """See that the caller acts for its marketplace, and not for one user of it. Raises InsufficientScope."""
    if actor.bound_user_id is not None:
        raise InsufficientScope("This key acts for one user; webhooks are the marketplace's.")


async def require(tx: Tx, actor: Actor, endpoint_id: str) -> Endpoint:
    """The marketplace's endpoint. Raises WebhookEndpointNotFound, InsufficientScope."""
    require_marketplace(actor)
    endpoint = await store.get(tx, actor.marketplace_id, endpoint_id)
    if endpoint is None:
        raise WebhookEndpointNotFound(endpointId=endpoint_id[:64])
    return endpoint


async def require_locked(tx: Tx, actor: Actor, endpoint_id: str) -> Endpoint:
    """The same, locked until the transaction ends."""
    require_marketplace(actor)
    endpoint = await store.lock(tx, actor.marketplace_id, endpoint_id)
    if endpoint is None:
        raise WebhookEndpointNotFound(endpointId=endpoint_id[:64])
    return endpoint


async def require_enabled(tx: Tx, actor: Actor, endpoint_id: str) -> Endpoint:
    """The same, and it must be enabled. Raises InvalidState when it is not."""
    endpoint = await require_locked(tx, actor, endpoint_id)
    if endpoint.status != "ENABLED":
        raise InvalidState(currentState=endpoint.status, allowedStates=["ENABLED"])
    return endpoint


async def require_delivery(tx: Tx, actor: Actor, endpoint_id: str, delivery_id: str) -> Delivery:
    """A delivery of the marketplace's endpoint. Raises WebhookEndpointNotFound, WebhookDeliveryNotFound."""
    await require(tx, actor, endpoint_id)
    found = await lines.get(tx, actor.marketplace_id, endpoint_id, delivery_id)
    if found is None:
        raise WebhookDeliveryNotFound(deliveryId=delivery_id[:64])
    return found


async def disable(tx: Tx, actor: Actor, endpoint: Endpoint, reason: DisabledReason) -> None:
    """Send nothing more to an endpoint that the caller has locked, and tell the marketplace. No effect twice."""
    if not await store.disable(tx, endpoint.id, reason):
        return
    payload = {
        "endpointId": endpoint.id,
        "url": endpoint.url,
        "reason": reason,
        "failingSince": None if endpoint.failing_since is None else to_wire(endpoint.failing_since),
        "disabledAt": to_wire(await lines.moment(tx)),
    }
    await record(tx, actor, events=[Event(DISABLED_EVENT, RESOURCE, endpoint.id, payload)])


async def delete(tx: Tx, actor: Actor, endpoint: Endpoint) -> None:
    """Delete an endpoint that the caller has locked; its deliveries are kept for their time."""
    await store.delete(tx, endpoint.id, WEBHOOK_ENDPOINT.sources_of("DELETED"))
    await record(tx, actor, audit=[AuditEntry("WEBHOOK_ENDPOINT_DELETED", RESOURCE, endpoint.id, _told(endpoint))])


class Endpoints:
    """Making and changing endpoints. `targets` says where they may be."""

    def __init__(self, targets: Targets, box: SecretBox) -> None:
        self._targets = targets
        self._box = box

    async def create(self, tx: Tx, actor: Actor, body: CreateWebhookEndpoint) -> tuple[Endpoint, str]:
        """A new endpoint, and its secret as its owner gets it.

        Raises InsufficientScope, WebhookUrlForbidden, WebhookEndpointLimit, ValidationFailed.
        """
        require_marketplace(actor)
        if body.kind == "PUSH":
            if body.url is None:
                raise invalid_field("url", "url is needed where events are sent to")
            self._require_allowed(body.url)
        elif body.url is not None:
            raise invalid_field("url", "url has no meaning for an endpoint that fetches")
        if body.eventTypes is not None:
            matching(body.eventTypes, "eventTypes")
        if await store.count(tx, actor.marketplace_id) >= ENDPOINTS_MAX:
            raise WebhookEndpointLimit(limit=ENDPOINTS_MAX)
        endpoint_id = await store.insert(
            tx,
            actor.marketplace_id,
            kind=body.kind,
            url=body.url,
            description=_clean(body.description),
            event_types=body.eventTypes or [EVERY_EVENT],
        )
        secret = await self._new_secret(tx, endpoint_id, 1)
        endpoint = await require(tx, actor, endpoint_id)
        entry = AuditEntry("WEBHOOK_ENDPOINT_CREATED", RESOURCE, endpoint_id, None, _told(endpoint))
        await record(tx, actor, audit=[entry])
        return endpoint, secret

    async def list(self, tx: Tx, actor: Actor, query: PageQuery) -> Page:
        """One page of the marketplace's endpoints, newest first."""
        require_marketplace(actor)
        return await store.page(tx, actor.marketplace_id, query)

    async def update(self, tx: Tx, actor: Actor, endpoint_id: str, body: UpdateWebhookEndpoint) -> Endpoint:
        """Change what the body names. Raises WebhookEndpointNotFound, WebhookUrlForbidden, ValidationFailed."""
        before = await require_locked(tx, actor, endpoint_id)
        if body.url is not None:
            if before.kind != "PUSH":
                raise invalid_field("url", "url has no meaning for an endpoint that fetches")
            self._require_allowed(body.url)
        if body.eventTypes is not None:
            matching(body.eventTypes, "eventTypes")
        changes: dict[str, Any] = {
            column: value
            for column, value in (
                ("url", body.url),
                ("description", _clean(body.description)),
                ("event_types", body.eventTypes),
            )
            if value is not None
        }
        if changes:
            await store.update(tx, endpoint_id, changes)
        if body.enabled is True and await store.enable(tx, endpoint_id):
            # What still waits belongs to the time before; whoever wants it asks for its re-delivery.
            await lines.cancel_waiting(tx, endpoint_id)
        after = await require(tx, actor, endpoint_id)
        if after != before:
            entry = AuditEntry("WEBHOOK_ENDPOINT_UPDATED", RESOURCE, endpoint_id, _told(before), _told(after))
            await record(tx, actor, audit=[entry])
        if body.enabled is False:
            await disable(tx, actor, after, "manual")
        return await require(tx, actor, endpoint_id)

    async def rotate_secret(
        self, tx: Tx, actor: Actor, endpoint_id: str, overlap_seconds: int
    ) -> WebhookSecretAnswer:
        """A new secret; the one before it signs as well for so long, and none that is older."""
        await require_locked(tx, actor, endpoint_id)
        number = await store.next_number(tx, endpoint_id)
        secret = await self._new_secret(tx, endpoint_id, number)
        ends = await store.retire_secrets(tx, endpoint_id, number, overlap_seconds)
        told = {"number": number, "previousEndsAt": to_wire(ends)}
        await record(tx, actor, audit=[AuditEntry("WEBHOOK_SECRET_ROTATED", RESOURCE, endpoint_id, None, told)])
        return WebhookSecretAnswer(endpointId=endpoint_id, secret=secret, previousSecretExpiresAt=to_wire(ends))

    async def send_test(self, tx: Tx, actor: Actor, endpoint_id: str) -> Delivery:
        """Record a test event and send it to this endpoint alone, whatever its filter. Raises InvalidState."""
        endpoint = await require_enabled(tx, actor, endpoint_id)
        payload = {"endpointId": endpoint_id, "message": "This is a test: nothing has happened."}
        await record(tx, actor, events=[Event(TEST_EVENT, RESOURCE, endpoint_id, payload)])
        event_id, sequence = await store.newest_event(tx, RESOURCE, endpoint_id)
        await place(tx, event_id)
        wanted = Wanted(endpoint_id, endpoint.marketplace_id, event_id, TEST_EVENT, RESOURCE, endpoint_id, sequence)
        await attempts.end_rest(tx, endpoint_id)
        await lines.add(tx, [wanted], await lines.moment(tx))
        return await lines.of_event(tx, endpoint_id, event_id)

    async def _new_secret(self, tx: Tx, endpoint_id: str, number: int) -> str:
        secret = signing.new_secret()
        await store.insert_secret(tx, endpoint_id, number, self._box.seal(endpoint_id, number, secret))
        return signing.shown(secret)

    def _require_allowed(self, url: str) -> None:
        reason = self._targets.refusal(url)
        if reason is not None:
            raise WebhookUrlForbidden(f"Webhooks cannot be sent to this address: {reason}.", url=url, reason=reason)


def _clean(text: str | None) -> str | None:
    if text is not None and "\x00" in text:
        raise invalid_field("description", "description must not contain NUL")
    return text


def _told(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "description": endpoint.description,
        "eventTypes": list(endpoint.event_types),
        "status": endpoint.status,
    }
