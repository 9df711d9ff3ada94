"""How an escrow and its contract may differ: every kind, and what is no difference."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from offerhub.escrows.jobs import compare
from offerhub.escrows.model import Escrow, EscrowMilestone
from offerhub.kernel.money import Units
from offerhub.providers.trustless_work.wire import EscrowView, MilestoneView

AMOUNT = Units(400_000_000)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
ESCROW = Escrow(
    id="esc_1",
    marketplace_id="mkt_1",
    order_id="ord_1",
    contract_id="C1",
    status="FUNDED",
    amount=AMOUNT,
    platform_fee_bps=0,
    terms={},
    roles={},
    treasury=None,
    marked_on_chain=0,
    approved_on_chain=0,
    disputed_on_chain=False,
    tx_hash=None,
    funded_at=LONG_AGO,
    released_at=None,
    refunded_at=None,
    created_at=LONG_AGO,
    updated_at=LONG_AGO,
)
VIEW = EscrowView(
    contract_id="C1",
    engagement_id="ord_1",
    amount=AMOUNT,
    balance=AMOUNT,
    disputed=False,
    released=False,
    resolved=False,
    milestones=(MilestoneView("pending", False),),
)


@pytest.mark.parametrize(
    ("escrow", "view", "kind"),
    [
        ({}, {"engagement_id": "ord_2"}, "OTHER_TERMS"),
        ({}, {"amount": Units(AMOUNT + 100_000)}, "OTHER_TERMS"),
        ({}, {"released": True, "balance": Units(0)}, "PAID_OUT"),
        ({}, {"resolved": True, "balance": Units(0)}, "PAID_OUT"),
        ({"status": "DISPUTED"}, {"resolved": True, "disputed": True, "balance": Units(0)}, "PAID_OUT"),
        ({"status": "CREATED"}, {"released": True, "balance": Units(0)}, "PAID_OUT"),
        ({}, {"disputed": True}, "DISPUTE_UNKNOWN"),
        ({}, {"balance": Units(AMOUNT - 1)}, "MONEY_MISSING"),
        ({"status": "DISPUTED"}, {"balance": Units(0)}, "MONEY_MISSING"),
        ({"status": "CREATED"}, {}, "FUNDED_UNBOOKED"),
        ({"status": "CREATED"}, {"balance": Units(AMOUNT - 1)}, "SURPLUS"),
        ({}, {"balance": Units(AMOUNT + 1)}, "SURPLUS"),
    ],
)
def test_what_differs_has_a_name(escrow: dict[str, Any], view: dict[str, Any], kind: str) -> None:
    found = compare(replace(ESCROW, **escrow), replace(VIEW, **view))
    assert found is not None
    assert found.kind == kind
    assert found.facts["contractId"] == "C1"
    assert found.facts["amount"] == "40.0000000"


@pytest.mark.parametrize(
    ("escrow", "view"),
    [
        ({}, {}),
        ({}, {"balance": None}),
        ({"status": "CREATED"}, {"balance": Units(0)}),
        ({"status": "DISPUTED"}, {}),
        ({"status": "DISPUTED", "disputed_on_chain": True}, {"disputed": True}),
    ],
    ids=["funded", "not told", "empty", "our dispute", "told dispute"],
)
def test_what_is_no_difference(escrow: dict[str, Any], view: dict[str, Any]) -> None:
    assert compare(replace(ESCROW, **escrow), replace(VIEW, **view)) is None


def test_a_contract_that_trustless_work_does_not_know_is_a_difference() -> None:
    found = compare(ESCROW, None)
    assert found is not None
    assert found.kind == "CONTRACT_UNKNOWN"


def milestone(position: int, amount: int, status: str = "UNPAID", *, disputed: bool = False) -> EscrowMilestone:
    paid_at = None if status == "UNPAID" else LONG_AGO
    known = (False, False, disputed, 0, 0, 0, 0, 0, 0, None)
    return EscrowMilestone("esc_1", position, f"mst_{position}", Units(amount), status, *known, paid_at)


MULTI = replace(ESCROW, terms={"milestone_amounts": [300_000_000, 100_000_000]})
PAID = MilestoneView("completed", True, Units(300_000_000), released=True)
OPEN = MilestoneView("pending", False, Units(100_000_000))
OURS = (milestone(0, 300_000_000, "RELEASED"), milestone(1, 100_000_000))
THEIRS = replace(VIEW, balance=Units(100_000_000), milestones=(PAID, OPEN))


@pytest.mark.parametrize(
    ("ours", "view", "kind"),
    [
        (OURS, {}, None),
        (OURS, {"balance": Units(100_000_001)}, "SURPLUS"),
        (OURS, {"milestones": (PAID, replace(OPEN, amount=Units(1)))}, "OTHER_TERMS"),
        (OURS, {"milestones": (PAID,)}, "OTHER_TERMS"),
        (OURS, {"milestones": (replace(PAID, released=False), OPEN)}, "NOT_PAID_OUT"),
        (OURS, {"milestones": (replace(PAID, released=False, resolved=True), OPEN)}, None),
        (OURS, {"milestones": (PAID, replace(OPEN, released=True))}, "PAID_OUT"),
        (OURS, {"milestones": (PAID, replace(OPEN, resolved=True))}, "PAID_OUT"),
        (OURS, {"milestones": (PAID, replace(OPEN, disputed=True))}, "DISPUTE_UNKNOWN"),
        (
            (OURS[0], milestone(1, 100_000_000, disputed=True)),
            {"milestones": (PAID, replace(OPEN, disputed=True))},
            None,
        ),
        (OURS, {"balance": Units(99_999_999)}, "MONEY_MISSING"),
    ],
)
def test_milestones_of_a_multi_release_contract_are_compared_one_by_one(
    ours: tuple[EscrowMilestone, ...], view: dict[str, Any], kind: str | None
) -> None:
    found = compare(MULTI, replace(THEIRS, **view), ours)
    assert (None if found is None else found.kind) == kind
