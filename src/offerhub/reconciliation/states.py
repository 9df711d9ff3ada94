"""The states of a run."""

from offerhub.kernel.states import machine

RUN = machine(
    "reconciliation run",
    "reconciliation_runs.status",
    "QUEUED",
    {
        "QUEUED": {"RUNNING", "ABANDONED"},
        "RUNNING": {"SUCCEEDED", "FAILED", "ABANDONED"},
        "FAILED": {"RUNNING"},
        "SUCCEEDED": set(),
        "ABANDONED": set(),
    },
)
