"""The routes of findings, for operators (beside those of reconciliation, contract 2.14)."""

from typing import Any

from offerhub.errors import InvalidState, NotFound
from offerhub.findings import service
from offerhub.findings.model import FindingAnswer, FindingsQuery, ReasonBody
from offerhub.kernel.pages import Page
from offerhub.runtime.routes import Call, Envelope, Route


def routes() -> tuple[Route, ...]:
    """List and show findings; say that somebody looks at one, or has decided."""
    shared: dict[str, Any] = {"scope": "support", "domain": "operations", "answer": FindingAnswer}
    one: dict[str, Any] = {**shared, "envelope": Envelope.DATA}
    change: dict[str, Any] = {**one, "body": ReasonBody, "errors": (NotFound, InvalidState)}
    path = "/admin/reconciliation/findings"
    return (
        Route("GET", path, "findings.list", "List what was found to differ.",
              _list, **shared, envelope=Envelope.PAGE, unit="read", query=FindingsQuery,
              description="The newest first. `status=OPEN` is what nobody has looked at yet."),
        Route("GET", f"{path}/{{finding_id}}", "findings.get", "Show a finding.",
              _get, **one, unit="read", errors=(NotFound,)),
        Route("POST", f"{path}/{{finding_id}}/acknowledge", "findings.acknowledge", "Say that you look at a finding.",
              _acknowledge, **change,
              description="It stays until it agrees again, and is open again when another amount is seen. "
              "Repeating it replaces the note."),
        Route("POST", f"{path}/{{finding_id}}/resolve", "findings.resolve", "Say that a finding is dealt with.",
              _resolve, **change,
              description="Nothing else changes: no state, no balance. If it is seen again, that is a new finding."),
    )  # fmt: skip


async def _list(call: Call) -> Page:
    found = await service.list_findings(call.tx, call.actor, call.query)
    return Page([one.wire() for one in found.items], found.next_cursor)


async def _get(call: Call) -> FindingAnswer:
    return (await service.get(call.tx, call.actor, call.path["finding_id"])).wire()


async def _acknowledge(call: Call) -> FindingAnswer:
    return (await service.acknowledge(call.tx, call.actor, call.path["finding_id"], call.body.reason)).wire()


async def _resolve(call: Call) -> FindingAnswer:
    return (await service.resolve(call.tx, call.actor, call.path["finding_id"], call.body.reason)).wire()
