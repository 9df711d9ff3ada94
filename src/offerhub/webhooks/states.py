"""The states of a webhook event (contract 4.8)."""

from offerhub.kernel.states import machine

WEBHOOK_EVENT = machine(
    "webhook event",
    "webhook_events.status",
    "RECEIVED",
    {
        "RECEIVED": {"PROCESSED", "IGNORED", "FAILED"},
        "FAILED": {"PROCESSED", "IGNORED"},
        "PROCESSED": set(),
        "IGNORED": set(),
    },
)
