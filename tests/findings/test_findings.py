"""Findings: one for each kind and subject while it lasts, news told once, ended by evidence or by a person."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.errors import InsufficientScope, InvalidState, NotFound, ValidationFailed
from offerhub.findings import service
from offerhub.findings.kinds import KINDS
from offerhub.findings.model import Finding, FindingsQuery, Found
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Row

OPERATOR = Actor(DEFAULT_MARKETPLACE_ID, "api_key", "key_1", "ops", frozenset({"support"}))
STRANGER = Actor("mkt_other", "api_key", "key_2", "ops", frozenset({"*"}))


class Desk:
    """Findings of one escrow, and what is written down about them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def see(self, kind: str = "MONEY_MISSING", amount: int | None = -5_000_000, **evidence: Any) -> bool:
        found = Found(DEFAULT_MARKETPLACE_ID, kind, "Escrow", "esc_1", evidence, amount)
        return await self.database.run(lambda tx: service.raise_finding(tx, found))

    async def agree(self, *kinds: str, **evidence: Any) -> int:
        return await self.database.run(lambda tx: service.resolve_findings(tx, kinds, "esc_1", evidence))

    async def all(self, **query: Any) -> list[Finding]:
        page = await self.database.run(lambda tx: service.list_findings(tx, OPERATOR, FindingsQuery(**query)))
        return list(page.items)

    async def audit(self) -> list[Row]:
        return await self.database.run(lambda tx: tx.rows("SELECT * FROM audit_entries ORDER BY id"), read_only=True)

    async def acknowledge(self, finding_id: str, actor: Actor = OPERATOR, reason: str = "asked them") -> Finding:
        return await self.database.run(lambda tx: service.acknowledge(tx, actor, finding_id, reason))

    async def resolve(self, finding_id: str, actor: Actor = OPERATOR, reason: str = "they paid") -> Finding:
        return await self.database.run(lambda tx: service.resolve(tx, actor, finding_id, reason))


@pytest.fixture
async def desk(fresh_database_url: str) -> AsyncIterator[Desk]:
    database = await Database.connect(fresh_database_url)
    yield Desk(database)
    await database.close()


async def test_what_is_seen_again_is_the_same_finding_and_no_news(desk: Desk) -> None:
    assert await desk.see(contractBalance="9.5000000", apiSecret="very secret")
    assert not await desk.see(amount=-6_000_000, contractBalance="9.4000000")
    assert await desk.see("DISPUTE_UNKNOWN", None)
    other, money = await desk.all()
    assert (other.kind, other.times_seen, other.amount) == ("DISPUTE_UNKNOWN", 1, None)
    assert (money.status, money.times_seen, money.amount) == ("OPEN", 2, -6_000_000)
    assert money.evidence == {"contractBalance": "9.4000000"}
    assert money.first_seen_at < money.last_seen_at
    wire = money.wire()
    assert (wire.amount, wire.amountUnits) == ("-0.60", -6_000_000)
    assert wire.nextAction == KINDS["MONEY_MISSING"].next_action
    entries = await desk.audit()
    assert [(one["action"], one["result"], one["resource_id"]) for one in entries] == [
        ("DISCREPANCY_FOUND", "DISCREPANCY_FOUND", "esc_1")
    ] * 2
    assert entries[0]["payload_after"]["apiSecret"] == "***REDACTED***"
    assert entries[0]["payload_after"]["findingId"] == money.id


async def test_evidence_ends_it_and_the_next_time_is_a_new_finding(desk: Desk) -> None:
    assert await desk.agree("MONEY_MISSING") == 0
    await desk.see()
    await desk.see("DISPUTE_UNKNOWN")
    assert await desk.agree("MONEY_MISSING", "PAID_OUT", contractBalance="10.0000000") == 1
    [done] = await desk.all(status="RESOLVED")
    assert (done.kind, done.resolved_by) == ("MONEY_MISSING", "system:reconciliation")
    assert done.resolution == {"contractBalance": "10.0000000"}
    assert done.wire().nextAction == ""
    assert await desk.see(), "news again"
    [again] = await desk.all(status="OPEN", kind="MONEY_MISSING")
    assert again.id != done.id
    assert [one["action"] for one in await desk.audit()] == [
        *("DISCREPANCY_FOUND", "DISCREPANCY_FOUND", "FINDING_RESOLVED", "DISCREPANCY_FOUND")
    ]


async def test_a_person_looks_at_it_and_decides(desk: Desk) -> None:
    await desk.see()
    [found] = await desk.all()
    seen = await desk.acknowledge(found.id)
    assert (seen.status, seen.acknowledged_by, seen.note) == ("ACKNOWLEDGED", "key_1", "asked them")
    assert (await desk.acknowledge(found.id, reason="they look")).note == "they look"
    assert not await desk.see(), "the same amount: somebody sees to it"
    assert [one.status for one in await desk.all()] == ["ACKNOWLEDGED"]
    assert await desk.see(amount=-7_000_000), "another amount is news"
    assert [(one.status, one.note) for one in await desk.all()] == [("OPEN", "they look")]
    done = await desk.resolve(found.id)
    assert (done.status, done.resolved_by, done.resolution) == ("RESOLVED", "key_1", {"reason": "they paid"})
    for act in (desk.resolve, desk.acknowledge):
        with pytest.raises(InvalidState):
            await act(found.id)
    last = (await desk.audit())[-1]
    assert (last["action"], last["actor_id"], last["payload_after"]) == (
        *("FINDING_RESOLVED", "key_1"),
        {"status": "RESOLVED", "reason": "they paid"},
    )
    assert await desk.see(), "a decision ends no difference: seen again, it is a new finding"


async def test_only_operators_see_findings(desk: Desk) -> None:
    await desk.see()
    [found] = await desk.all()
    for act in (desk.acknowledge, desk.resolve):
        with pytest.raises(NotFound):
            await act(found.id, STRANGER)
    with pytest.raises(InsufficientScope):
        await desk.database.run(lambda tx: service.list_findings(tx, STRANGER, FindingsQuery()))


async def test_findings_are_listed_in_pages_and_by_what_they_are_about(desk: Desk) -> None:
    kinds = ("MONEY_MISSING", "PAID_OUT", "NO_SAGA")
    for kind in kinds:
        await desk.see(kind)
    newest = [one.id for one in await desk.all()]
    first = await desk.database.run(lambda tx: service.list_findings(tx, OPERATOR, FindingsQuery(limit=2)))
    assert ([one.id for one in first.items], first.next_cursor) == (newest[:2], newest[1])
    assert [one.id for one in await desk.all(cursor=newest[1])] == newest[2:]
    for query in ({"subjectType": "Wallet"}, {"subjectId": "esc_2"}, {"marketplaceId": "mkt_x"}, {"kind": "x"}):
        assert await desk.all(**query) == []
    assert len(await desk.all(subjectType="Escrow", subjectId="esc_1", marketplaceId=DEFAULT_MARKETPLACE_ID)) == 3
    for bad in ({"limit": 0}, {"cursor": "fnd_nothing"}):
        with pytest.raises(ValidationFailed):
            await desk.all(**bad)


def test_a_kind_must_be_known() -> None:
    with pytest.raises(ValueError, match="NEVER_HEARD_OF"):
        Found(DEFAULT_MARKETPLACE_ID, "NEVER_HEARD_OF", "Escrow", "esc_1")


def test_every_kind_is_on_the_operators_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operating" / "reconciliation.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"| `{kind}` |" not in page] == []
