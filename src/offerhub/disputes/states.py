"""The states of a dispute."""

from offerhub.kernel.states import machine

DISPUTE = machine(
    "dispute",
    "disputes.status",
    "OPEN",
    {"OPEN": {"UNDER_REVIEW"}, "UNDER_REVIEW": {"RESOLVED"}, "RESOLVED": set()},
)
