"""The endpoints of webhooks out. Their shapes follow those of the field (Stripe, Svix, Standard Webhooks)."""

from typing import Any, Final

from offerhub.errors import (
    InsufficientScope,
    InvalidState,
    ValidationFailed,
    WebhookDeliveryNotFound,
    WebhookEndpointLimit,
    WebhookEndpointNotFound,
    WebhookUrlForbidden,
)
from offerhub.kernel.pages import Page
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Call, Envelope, Route
from offerhub.webhook_endpoints import attempts, lines, redelivery, service
from offerhub.webhook_endpoints.listening import Listening
from offerhub.webhook_endpoints.model import (
    OVERLAP_SECONDS_DEFAULT,
    CreateWebhookEndpoint,
    FetchedAnswer,
    FetchWebhooks,
    ListWebhookDeliveries,
    RedeliveredAnswer,
    RedeliverWebhooks,
    RotateWebhookSecret,
    UpdateWebhookEndpoint,
    WebhookDeliveryAnswer,
    WebhookDeliveryDetailAnswer,
    WebhookEndpointAnswer,
    WebhookEndpointCreatedAnswer,
    WebhookSecretAnswer,
)
from offerhub.webhook_endpoints.service import Endpoints

_CREATE: Final = """
From now on events that match `eventTypes` are sent there, signed as the Standard Webhooks specification has it, in
order for each aggregate, and again for three days until they are answered with a status from 200 to 299.
"""
_REDELIVER: Final = """
Works through the events of a time in batches: while the answer has a `nextCursor`, ask again with it. What is sent
again has the same `webhook-id` as before.
"""
_FETCH: Final = """
For endpoints of kind `PULL`: says what came of the deliveries that the answer before brought, and answers those
that are due now. What nothing is said about is brought again.
"""


class _Handlers:
    def __init__(self, endpoints: Endpoints, listening: Listening) -> None:
        self._endpoints = endpoints
        self._listening = listening

    async def create(self, call: Call) -> WebhookEndpointCreatedAnswer:
        endpoint, secret = await self._endpoints.create(call.tx, call.actor, call.body)
        return endpoint.created(secret)

    async def list_endpoints(self, call: Call) -> Page:
        found = await self._endpoints.list(call.tx, call.actor, call.query)
        return Page([endpoint.wire() for endpoint in found.items], found.next_cursor)

    async def read(self, call: Call) -> WebhookEndpointAnswer:
        return (await service.require(call.tx, call.actor, call.path["endpoint_id"])).wire()

    async def update(self, call: Call) -> WebhookEndpointAnswer:
        return (await self._endpoints.update(call.tx, call.actor, call.path["endpoint_id"], call.body)).wire()

    async def delete(self, call: Call) -> WebhookEndpointAnswer:
        endpoint = await service.require_locked(call.tx, call.actor, call.path["endpoint_id"])
        await service.delete(call.tx, call.actor, endpoint)
        return endpoint.deleted()

    async def rotate_secret(self, call: Call) -> WebhookSecretAnswer:
        body: RotateWebhookSecret = call.body
        overlap = OVERLAP_SECONDS_DEFAULT if body.overlapSeconds is None else body.overlapSeconds
        return await self._endpoints.rotate_secret(call.tx, call.actor, call.path["endpoint_id"], overlap)

    async def send_test(self, call: Call) -> WebhookDeliveryAnswer:
        return (await self._endpoints.send_test(call.tx, call.actor, call.path["endpoint_id"])).wire()

    async def list_deliveries(self, call: Call) -> Page:
        query: ListWebhookDeliveries = call.query
        endpoint = await service.require(call.tx, call.actor, call.path["endpoint_id"])
        found = await lines.page(call.tx, call.actor.marketplace_id, endpoint.id, query)
        return Page([delivery.wire() for delivery in found.items], found.next_cursor)

    async def read_delivery(self, call: Call) -> WebhookDeliveryDetailAnswer:
        path = call.path
        delivery = await service.require_delivery(call.tx, call.actor, path["endpoint_id"], path["delivery_id"])
        body = await attempts.body_of(call.tx, delivery.event_id)
        return delivery.detailed(body, await attempts.of_delivery(call.tx, delivery.id))

    async def redeliver(self, call: Call) -> WebhookDeliveryAnswer:
        path = call.path
        return (await redelivery.redeliver(call.tx, call.actor, path["endpoint_id"], path["delivery_id"])).wire()

    async def redeliver_range(self, call: Call) -> RedeliveredAnswer:
        return await redelivery.redeliver_range(call.tx, call.actor, call.path["endpoint_id"], call.body)

    async def fetch(self, call: Call) -> FetchedAnswer:
        body: FetchWebhooks = call.body
        found = await self._listening.fetch(
            call.actor, call.path["endpoint_id"], body.results or [], body.waitSeconds or 0
        )
        return FetchedAnswer(deliveries=[claimed.wire() for claimed in found])


def routes(endpoints: Endpoints, listening: Listening) -> tuple[Route, ...]:
    """Declare the endpoints."""
    handlers = _Handlers(endpoints, listening)
    one, deliveries = "/webhook-endpoints/{endpoint_id}", "/webhook-endpoints/{endpoint_id}/deliveries"
    reading: dict[str, Any] = {"scope": "read", "domain": "webhooks", "unit": "read"}
    writing: dict[str, Any] = {"scope": "write", "domain": "webhooks"}
    data, page = Envelope.DATA, Envelope.PAGE
    missing = (WebhookEndpointNotFound, InsufficientScope)
    return (
        Route("POST", "/webhook-endpoints", "webhook_endpoints.create", "Have events sent to an address",
              handlers.create, **writing, envelope=data, status=201, body=CreateWebhookEndpoint, sealed=True,
              answer=WebhookEndpointCreatedAnswer, description=_CREATE,
              errors=(InsufficientScope, WebhookUrlForbidden, WebhookEndpointLimit)),
        Route("GET", "/webhook-endpoints", "webhook_endpoints.list", "List webhook endpoints, newest first",
              handlers.list_endpoints, **reading, envelope=page, query=PageQuery, answer=WebhookEndpointAnswer,
              errors=(InsufficientScope,)),
        Route("GET", one, "webhook_endpoints.get", "Read a webhook endpoint",
              handlers.read, **reading, envelope=data, answer=WebhookEndpointAnswer, errors=missing),
        Route("POST", one, "webhook_endpoints.update", "Change, disable or enable a webhook endpoint",
              handlers.update, **writing, envelope=data, body=UpdateWebhookEndpoint, answer=WebhookEndpointAnswer,
              errors=(*missing, WebhookUrlForbidden)),
        Route("DELETE", one, "webhook_endpoints.delete", "Delete a webhook endpoint and its secrets",
              handlers.delete, **writing, envelope=data, answer=WebhookEndpointAnswer, errors=missing,
              description="Nothing more is sent to it, from within a second or two."),
        Route("POST", f"{one}/rotate-secret", "webhook_endpoints.rotate_secret",
              "Give a webhook endpoint a new secret", handlers.rotate_secret,
              **writing, envelope=data, body=RotateWebhookSecret, body_optional=True,
              sealed=True, answer=WebhookSecretAnswer, errors=missing,
              description="The old one signs as well for `overlapSeconds`, so that a receiver that knows either "
              "accepts what comes."),
        Route("POST", f"{one}/test", "webhook_endpoints.test", "Send a test event to a webhook endpoint",
              handlers.send_test, **writing, envelope=data, status=202, answer=WebhookDeliveryAnswer,
              errors=(*missing, InvalidState),
              description="The event `webhook.test` is recorded, and sent to this endpoint alone, whatever its "
              "filter."),
        Route("POST", f"{one}/redeliver", "webhook_endpoints.redeliver", "Send what happened in a time again",
              handlers.redeliver_range, **writing, envelope=data, body=RedeliverWebhooks, status=202,
              answer=RedeliveredAnswer, errors=(*missing, InvalidState), description=_REDELIVER),
        Route("POST", f"{one}/fetch", "webhook_endpoints.fetch", "Fetch deliveries, as `offerhub listen` does",
              handlers.fetch, scope="write", domain="webhooks", unit="none", envelope=data, body=FetchWebhooks,
              body_optional=True, answer=FetchedAnswer,
              errors=(*missing, InvalidState, ValidationFailed), description=_FETCH),
        Route("GET", deliveries, "webhook_deliveries.list", "List the deliveries to a webhook endpoint, newest first",
              handlers.list_deliveries, **reading, envelope=page, query=ListWebhookDeliveries,
              answer=WebhookDeliveryAnswer, errors=missing),
        Route("GET", f"{deliveries}/{{delivery_id}}", "webhook_deliveries.get",
              "Read a delivery with its attempts: what was sent, what came back",
              handlers.read_delivery, **reading, envelope=data, answer=WebhookDeliveryDetailAnswer,
              errors=(*missing, WebhookDeliveryNotFound)),
        Route("POST", f"{deliveries}/{{delivery_id}}/redeliver", "webhook_deliveries.redeliver",
              "Send one delivery again",
              handlers.redeliver, **writing, envelope=data, status=202, answer=WebhookDeliveryAnswer,
              errors=(*missing, WebhookDeliveryNotFound, InvalidState)),
    )  # fmt: skip
