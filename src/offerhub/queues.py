"""The queues and their jobs, as whoever watches them or takes from them has to know them.

What is said here is what is run: `worker` takes the queues' names and paces from this list, a test holds its jobs
against the handlers, and docs/reference/jobs.md is made from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from offerhub.reconciliation.model import JobType
from offerhub.reconciliation.service import QUEUE as RECONCILIATION
from offerhub.runtime.jobs import Limit, Priority
from offerhub.sagas import engine
from offerhub.settings import Settings, SettingsError
from offerhub.webhook_endpoints import dispatch
from offerhub.webhooks import service as inbox


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of job: what it does, its payload by field, and when it goes."""

    name: str
    does: str
    payload: Mapping[str, str]
    priority: Priority
    also_priority: str = ""
    """In words, which of them have another one."""


@dataclass(frozen=True, slots=True)
class QueueKind:
    """One queue. `concurrency` is how many of its jobs one process runs at a time unless a setting says otherwise."""

    name: str
    does: str
    concurrency: int
    jobs: tuple[JobKind, ...]
    beside: str
    """What else a worker of this queue looks after."""


COMPARISONS: Final[Mapping[JobType, str]] = {
    "sync-topups": "Asks Airtm about top-ups that are not settled.",
    "sync-withdrawals": "Asks Airtm about withdrawals that are not settled.",
    "sync-refunds": "Asks Airtm whether it has given back payouts that were completed.",
    "sync-escrows": "Compares escrows with their contracts.",
    "apply-policies": "Lets happen what the policies of marketplaces say, once its time is over.",
    "check-books": "Proves the books; what they violate is a finding.",
    "reconcile-totals": "Compares wallets, the treasury and Airtm with the books; what differs is a finding.",
    "check-missed-deposits": "Looks for deposits that the watch has missed.",
}
_RUN: Final = "the run that was asked for (`run_…`); not there in a job by the clock"
QUEUES: Final = (
    QueueKind(
        engine.QUEUE,
        "Money on its way: whatever has to be done at Airtm, at Trustless Work or on the chain.",
        32,
        (
            JobKind(
                engine.JOB,
                "Drives a saga as far as it goes. A saga does not depend on its job: the sweeper drives what is due.",
                {"sagaId": "the saga (`sga_…`)"},
                Priority.FIRST,
                f"{Priority.LATER} for setting a wallet up and for linking a user to Airtm",
            ),
        ),
        "the sweeper of sagas, the watch for deposits, the set-up of wallets",
    ),
    QueueKind(
        inbox.QUEUE,
        "What providers have told us.",
        8,
        (
            JobKind(
                inbox.JOB,
                "Asks the provider about what an event of its is about, and books what is the case. Events are "
                "looked into many at once, straight from the outbox. Only what comes to nothing there is a job, "
                "and every event where the queue is paused or limited (`QUEUE_RATE_LIMITS`), or traces are exported.",
                {"provider": "`AIRTM` or `TRUSTLESS_WORK`", "eventId": "the provider's id of the event"},
                Priority.FIRST,
            ),
        ),
        "forgetting old events",
    ),
    QueueKind(
        dispatch.QUEUE,
        "Events on their way to the webhook endpoints of marketplaces.",
        16,
        (
            JobKind(
                dispatch.JOB,
                "Sends to one endpoint what is due there. What comes later needs no job now: it is found when it is "
                "due.",
                {"endpointId": "the endpoint (`whe_…`)"},
                Priority.LATER,
            ),
        ),
        "queuing deliveries as events happen, forgetting old ones",
    ),
    QueueKind(
        RECONCILIATION,
        "Comparing the books with the providers and the chain; policies.",
        1,
        tuple(
            JobKind(f"reconciliation:{kind}", does, {"runId": _RUN}, Priority.LATER, "0 by the clock")
            for kind, does in COMPARISONS.items()
        ),
        "what runs by the clock, forgetting old runs",
    ),
)
NAMES: Final = tuple(one.name for one in QUEUES)


def concurrency(settings: Settings) -> dict[str, int]:
    """Queue to how many of its jobs one process runs at a time."""
    return {one.name: settings.jobs.concurrency.get(one.name, one.concurrency) for one in QUEUES}


def limits(settings: Settings) -> dict[str, Limit]:
    """Queue to the limit of its rate; queues without one are not there."""
    return {name: Limit(jobs, seconds) for name, (jobs, seconds) in settings.jobs.limits.items()}


def check(settings: Settings) -> None:
    """Raises SettingsError when the settings name a queue that is none."""
    named = {"QUEUE_CONCURRENCY": settings.jobs.concurrency, "QUEUE_RATE_LIMITS": settings.jobs.limits}
    known = ", ".join(NAMES)
    faults = [
        f"{variable} must name queues that there are: {known} (it names {name!r})."
        for variable, given in named.items()
        for name in given
        if name not in NAMES
    ]
    if faults:
        raise SettingsError(faults)
