"""The routes of reconciliation, for operators (contract 2.14)."""

from typing import Any

from offerhub.access.service import require_operator
from offerhub.errors import NotFound, ServiceUnavailable
from offerhub.kernel.clock import to_wire
from offerhub.kernel.pages import Page
from offerhub.reconciliation import service
from offerhub.reconciliation.model import RunAnswer, RunsQuery, ScheduleAnswer, SchedulesAnswer
from offerhub.reconciliation.service import QUEUE, Reconciliation
from offerhub.runtime.database import Database
from offerhub.runtime.queue import Queues, QueueUnavailable
from offerhub.runtime.routes import Answer, Call, Envelope, Route
from offerhub.runtime.schedules import Schedules


def routes(reconciliation: Reconciliation, database: Database, queues: Queues) -> tuple[Route, ...]:
    """The jobs' runs and schedules, and a run by hand."""
    handlers = _Handlers(reconciliation, database, Schedules(queues, QUEUE, ()))
    support: dict[str, Any] = {"scope": "support", "domain": "operations"}
    return (
        Route("GET", "/admin/queues/schedules", "queues.schedules", "List what runs by the clock.",
              handlers.schedules, **support, envelope=Envelope.DATA, answer=SchedulesAnswer, unit="none",
              errors=(ServiceUnavailable,),
              description="With each job's latest run. A job that is not scheduled here is not listed."),
        Route("POST", "/admin/reconciliation/{job}/run", "reconciliation.run", "Run a reconciliation job now.",
              handlers.run, **support, envelope=Envelope.DATA, answer=RunAnswer, status=202, also=(200,),
              errors=(NotFound,),
              description="It is queued, and a worker takes it in a moment: `GET /admin/reconciliation/runs` tells "
              "what came of it. Status 200 and the open run when one of this job is queued or running already."),
        Route("GET", "/admin/reconciliation/runs", "reconciliation.runs", "List the runs of reconciliation jobs.",
              _runs, **support, envelope=Envelope.PAGE, answer=RunAnswer, unit="read", query=RunsQuery,
              description="The newest first. Runs are kept for thirty days."),
    )  # fmt: skip


async def _runs(call: Call) -> Page:
    return await service.runs(call.tx, call.actor, call.query)


class _Handlers:
    def __init__(self, reconciliation: Reconciliation, database: Database, schedules: Schedules) -> None:
        self._reconciliation = reconciliation
        self._database = database
        self._schedules = schedules

    async def run(self, call: Call) -> Answer | RunAnswer:
        run, fresh = await self._reconciliation.request(call.tx, call.actor, call.path["job"])
        return run.wire() if fresh else Answer(run.wire(), 200)

    async def schedules(self, call: Call) -> SchedulesAnswer:
        require_operator(call.actor)
        try:
            planned = await self._schedules.planned()
        except QueueUnavailable as error:
            raise ServiceUnavailable("Redis cannot be reached, so the queues cannot be shown.") from error
        latest = await self._database.run(service.latest, read_only=True)
        found = []
        for one in planned:
            last = latest.get(one.name.removeprefix("reconciliation:"))
            found.append(
                ScheduleAnswer(
                    job=one.name,
                    queue=QUEUE,
                    everySeconds=one.every_seconds,
                    nextRunAt=to_wire(one.next_at),
                    lastRun=None if last is None else last.wire(),
                )
            )
        return SchedulesAnswer(schedules=found)
