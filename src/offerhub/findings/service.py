"""Use cases of findings: keep what differs, resolve what agrees again, let a person look and decide.

A finding never moves money or a state of anything else: it is what a person reads.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from offerhub.access.service import is_operator, require_operator
from offerhub.errors import InvalidState, NotFound
from offerhub.events.journal import AuditEntry, record
from offerhub.findings import store
from offerhub.findings.kinds import require_known
from offerhub.findings.model import Finding, FindingsQuery, Found
from offerhub.findings.states import FINDING
from offerhub.kernel.pages import Page
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Tx
from offerhub.runtime.redaction import redact

log = structlog.get_logger("offerhub.findings")


async def raise_finding(tx: Tx, found: Found, part: str = "reconciliation") -> bool:
    """Keep what differs; True when that is news, which then stands in the audit trail and in the log as well.

    News is what was not known, and what somebody had acknowledged with another amount. `part` is the part of the
    system that found it.
    """
    seen = await store.see(tx, found, redact(found.evidence))
    if not seen.is_news:
        return False
    entry = AuditEntry(
        "DISCREPANCY_FOUND",
        found.subject_type,
        found.subject_id,
        after={"kind": found.kind, "findingId": seen.id, **found.evidence},
        result="DISCREPANCY_FOUND",
    )
    await record(tx, system(found.marketplace_id, part), audit=[entry])
    log.error(
        "discrepancy_found",
        finding_id=seen.id,
        kind=found.kind,
        subject_type=found.subject_type,
        subject_id=found.subject_id,
        amount_units=found.amount,
        facts=redact(found.evidence),
    )
    return True


async def resolve_findings(
    tx: Tx, kinds: Sequence[str], subject_id: str, evidence: Mapping[str, Any], part: str = "reconciliation"
) -> int:
    """What differed about a subject agrees again, and `evidence` shows it; returns how many findings that ends."""
    for kind in kinds:
        require_known(kind)
    done = await store.resolve_seen(tx, kinds, subject_id, f"system:{part}", redact(evidence))
    for finding in done:
        actor = system(finding.marketplace_id, part)
        await record(tx, actor, audit=[_entry("FINDING_RESOLVED", finding, dict(evidence))])
        log.info("finding_resolved", finding_id=finding.id, kind=finding.kind, subject_id=subject_id)
    return len(done)


async def unresolved(tx: Tx, kinds: Sequence[str], limit: int) -> list[Finding]:
    """Findings of these kinds that are not resolved, the one seen longest ago first."""
    return await store.unresolved(tx, kinds, limit)


async def list_findings(tx: Tx, actor: Actor, query: FindingsQuery) -> Page:
    """One page of findings, the newest first. Raises InsufficientScope for whoever is no operator."""
    require_operator(actor)
    return await store.list_findings(tx, query)


async def get(tx: Tx, actor: Actor, finding_id: str, *, for_update: bool = False) -> Finding:
    """One finding. Raises NotFound, for whoever is no operator as well."""
    found = await store.get(tx, finding_id, for_update=for_update) if is_operator(actor) else None
    if found is None:
        raise NotFound("There is no such finding.")
    return found


async def acknowledge(tx: Tx, actor: Actor, finding_id: str, reason: str) -> Finding:
    """Somebody looks at it; doing so again replaces the note. Raises NotFound, InvalidState."""
    before = await get(tx, actor, finding_id, for_update=True)
    after = await store.acknowledge(tx, before.id, actor.credential_id, reason)
    return await _decided(tx, actor, "FINDING_ACKNOWLEDGED", before, after, reason)


async def resolve(tx: Tx, actor: Actor, finding_id: str, reason: str) -> Finding:
    """A person has decided about it. Seen again, it is a new finding. Raises NotFound, InvalidState."""
    before = await get(tx, actor, finding_id, for_update=True)
    after = await store.decide(tx, before.id, actor.credential_id, reason)
    return await _decided(tx, actor, "FINDING_RESOLVED", before, after, reason)


async def _decided(tx: Tx, actor: Actor, action: str, before: Finding, after: Finding | None, reason: str) -> Finding:
    if after is None:
        raise InvalidState(
            "The finding is resolved already.",
            currentState=before.status,
            allowedStates=FINDING.sources_of("RESOLVED"),
        )
    # The entry belongs to the marketplace whose money it is about, whoever the operator is.
    acting = msgspec.structs.replace(actor, marketplace_id=before.marketplace_id)
    await record(tx, acting, audit=[_entry(action, before, {"status": after.status, "reason": reason})])
    return after


def _entry(action: str, before: Finding, after: dict[str, Any]) -> AuditEntry:
    facts = {"kind": before.kind, "subjectId": before.subject_id, "status": before.status}
    return AuditEntry(action, "Finding", before.id, facts, after)
