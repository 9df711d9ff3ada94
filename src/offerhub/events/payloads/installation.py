"""What the events of API keys and of webhook endpoints tell; they are ours, the contract has none."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from offerhub.events.payloads.base import Kind, Payload
from offerhub.runtime.vocabulary import ApiKeyId, Timestamp, UserId, WebhookEndpointId

_Url = Annotated[
    str | None, Meta(description="Where it is; null for `offerhub listen`.", examples=["https://example.com/hook"])
]


class ApiKeyTold(Payload):
    """An API key, without its secret."""

    apiKeyId: ApiKeyId
    name: Annotated[str, Meta(description="For people.", examples=["Backend"])]
    scopes: Annotated[list[str], Meta(description="What it may do.", examples=[["read", "write"]])]
    userId: Annotated[UserId | None, Meta(description="The user whom it is bound to.")]
    last4: Annotated[str, Meta(description="The last four characters of its secret.", examples=["cdef"])]
    expiresAt: Annotated[Timestamp | None, Meta(description="When it stops working; null: never.")]
    revokedAt: Annotated[Timestamp | None, Meta(description="When it was revoked.")]


class WebhookTest(Payload):
    """A test."""

    endpointId: WebhookEndpointId
    message: Annotated[str, Meta(description="For people.", examples=["This is a test: nothing has happened."])]


class WebhookEndpointFailing(Payload):
    """An endpoint that answers nothing good."""

    endpointId: WebhookEndpointId
    url: _Url
    failingSince: Annotated[Timestamp, Meta(description="Since when every attempt has failed.")]
    disabledAfter: Annotated[Timestamp, Meta(description="When it will be disabled if that goes on.")]


class WebhookEndpointDisabled(Payload):
    """An endpoint that nothing is sent to any more."""

    endpointId: WebhookEndpointId
    url: _Url
    reason: Annotated[
        Literal["manual", "gone", "failing"],
        Meta(
            description="`manual`: by the API; `gone`: it answered 410; `failing`: everything failed for too long.",
            examples=["failing"],
        ),
    ]
    failingSince: Annotated[Timestamp | None, Meta(description="Since when every attempt has failed, if so.")]
    disabledAt: Timestamp


KINDS: Final = (
    Kind("api_key.created", "ApiKey", ApiKeyTold, "An API key is made.", "the key's user"),
    Kind("api_key.revoked", "ApiKey", ApiKeyTold, "An API key works no more.", "the key's user"),
    Kind(
        "webhook.test",
        "WebhookEndpoint",
        WebhookTest,
        "A test was asked for. As a webhook it goes to that endpoint alone.",
        "nobody",
    ),
    Kind(
        "webhook.endpoint.failing",
        "WebhookEndpoint",
        WebhookEndpointFailing,
        "Everything that was sent to an endpoint has failed for a day (`WEBHOOK_FAILING`).",
        "nobody",
    ),
    Kind(
        "webhook.endpoint.disabled",
        "WebhookEndpoint",
        WebhookEndpointDisabled,
        "Nothing more is sent to it.",
        "nobody",
    ),
)
