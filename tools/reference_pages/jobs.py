"""The queues and their jobs, from `offerhub.queues`: what a tool or a worker of somebody else's has to know."""

from typing import Final

from offerhub.queues import QUEUES, JobKind, QueueKind
from reference_pages.markdown import table

BLOCK: Final = "`offerhub.queues`"


def render() -> str:
    """The block of the page."""
    return "\n\n".join(_section(one) for one in QUEUES)


def _section(queue: QueueKind) -> str:
    jobs = table(("job", "priority", "payload", "does"), (_row(one) for one in queue.jobs))
    facts = (
        f"{queue.does} One process runs {queue.concurrency} of its jobs at a time. "
        f"Beside them a worker of this queue looks after: {queue.beside}."
    )
    return f"## `{queue.name}`\n\n{facts}\n\n{jobs}"


def _row(job: JobKind) -> tuple[str, ...]:
    payload = "; ".join(f"`{name}`: {says}" for name, says in job.payload.items())
    priority = f"{job.priority}" + (f"; {job.also_priority}" if job.also_priority else "")
    return f"`{job.name}`", priority, payload, job.does
