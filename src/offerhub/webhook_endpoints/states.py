"""The states of a webhook endpoint, and of the delivery of one event to it."""

from offerhub.kernel.states import Told, machine

WEBHOOK_ENDPOINT = machine(
    "webhook endpoint",
    "webhook_endpoints.status",
    "ENABLED",
    {
        "ENABLED": {"DISABLED", "DELETED"},
        "DISABLED": {"ENABLED", "DELETED"},
        "DELETED": set(),
    },
    {
        "ENABLED": Told(
            "Events that match its filter are sent to it.",
            "`POST /webhook-endpoints/{endpoint_id}`, an answer 410, or days of failures",
        ),
        "DISABLED": Told(
            "Nothing is sent, and events that happen now are not kept for it. What was waiting is canceled; "
            "`POST /webhook-endpoints/{endpoint_id}/redeliver` sends it all once the endpoint is enabled again.",
            "`POST /webhook-endpoints/{endpoint_id}`",
            ("webhook.endpoint.disabled",),
        ),
        "DELETED": Told("It is gone, and its secrets with it."),
    },
)

WEBHOOK_DELIVERY = machine(
    "webhook delivery",
    "webhook_deliveries.status",
    "PENDING",
    {
        "PENDING": {"DELIVERED", "FAILED", "CANCELED"},
        "DELIVERED": {"PENDING"},
        "FAILED": {"PENDING"},
        "CANCELED": {"PENDING"},
    },
    {
        "PENDING": Told(
            "It waits for its turn: for the time of its next attempt, or for the delivery of an earlier event of the "
            "same aggregate.",
            "an answer of the endpoint",
        ),
        "DELIVERED": Told("The endpoint has answered with a status from 200 to 299.", "a re-delivery"),
        "FAILED": Told("Every attempt has failed, over three days.", "a re-delivery"),
        "CANCELED": Told("The endpoint was disabled before it was delivered.", "a re-delivery"),
    },
)
