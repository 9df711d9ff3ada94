"""F18 and F19: the API does not say, or does not see, what it has done; a flow breaks in the middle of its steps."""

from typing import Any

import pytest

from faults.flows import SEND, Stage, build
from support.outside import World
from support.product import Marketplace, Person

UNIT = 10_000_000


@pytest.fixture(scope="module")
async def stage(shop: Marketplace, pair: tuple[Person, Person], world: World) -> Stage:
    await shop.live.system_is_ready()
    return Stage(shop, world, *pair)


async def test_f18_a_deployment_that_does_not_say_where(stage: Stage) -> None:
    """The contract's address is in the transaction's result on the chain; the API's word is not needed."""
    order_id = await stage.order("FUNDS_RESERVED")
    fault = await stage.world.fault("trustless_work", SEND[1], "no_contract_id", times=1)
    await stage.post(f"/orders/{order_id}/escrow")
    order = await stage.becomes(f"/orders/{order_id}", "ESCROW_FUNDING")
    assert await fault.fired() == 1
    assert order["escrow"]["contractId"] == (await stage.contract(order_id))["address"]
    await stage.shop.live.assert_conserved(stage.world)


async def test_f18_an_index_that_does_not_know_our_escrow(stage: Stage) -> None:
    """Nothing is decided by the index: orders go their way, and what it does not show is a finding, not a loss."""
    order_id = await stage.order("IN_PROGRESS")
    fault = await stage.world.fault("trustless_work", "/helper/get-escrow", "index_blind")
    async with stage.world.http.get(
        stage.world.environ["TRUSTLESS_API_URL"] + "/helper/get-escrows-by-signer",
        params={"signer": stage.buyer.address},
        headers={"x-api-key": stage.world.environ["TRUSTLESS_API_KEY"]},
    ) as answer:
        assert await answer.json() == []
    assert await fault.fired() == 1
    await stage.post(f"/orders/{order_id}/resolution/release")
    await stage.paid_out_once(order_id, "RELEASED")
    deployed = await stage.order("ESCROW_FUNDING")
    await stage.post(f"/orders/{deployed}/escrow/fund")
    await stage.becomes(f"/orders/{deployed}", "IN_PROGRESS")
    await stage.shop.live.assert_conserved(stage.world)


async def test_f18_the_answer_of_a_deployment_is_lost_and_the_index_blind(stage: Stage) -> None:
    order_id = await stage.order("FUNDS_RESERVED")
    lost = await stage.world.fault("trustless_work", SEND[1], "lose_response", times=1)
    await stage.world.fault("trustless_work", "/helper/get-escrow", "index_blind")
    await stage.post(f"/orders/{order_id}/escrow")
    order = await stage.becomes(f"/orders/{order_id}", "ESCROW_FUNDING")
    assert await lost.fired() == 1
    assert order["escrow"]["contractId"] == (await stage.contract(order_id))["address"]
    await stage.shop.live.assert_conserved(stage.world)


REFUSE = {"kind": "error_before", "status": 400, "times": 1}
"""The API refuses one build for good: the saga ends there, and somebody has to ask again."""
STEPS = [
    ("release", "approve-milestone", None, ["change_milestone_status"]),
    ("release", "release-funds", None, ["change_milestone_status", "approve_milestone"]),
    ("refund", "resolve-dispute", {"reason": "not delivered"}, ["dispute_escrow"]),
]


async def done_steps(stage: Stage, order_id: str) -> list[str]:
    """The steps on the contract after its funding that are in a ledger, in order."""
    sql = """
        SELECT s.name FROM envelopes e JOIN sagas g ON g.id = e.saga_id
        JOIN saga_steps s ON s.saga_id = e.saga_id AND s.position = e.position
        WHERE g.subject_id = $1 AND e.status = 'SUCCEEDED' ORDER BY e.created_at
    """
    return [row["name"] for row in await stage.shop.live.rows(sql, order_id)][2:]


@pytest.mark.parametrize(("move", "failing", "body", "done"), STEPS, ids=[f"{one[0]}, {one[1]}" for one in STEPS])
async def test_f19_a_flow_that_was_refused_in_the_middle_goes_on_from_there(
    stage: Stage, move: str, failing: str, body: Any, done: list[str]
) -> None:
    shop, order_id = stage.shop, await stage.order("IN_PROGRESS")
    fault = await stage.world.fault(*build(failing), **REFUSE)
    path = f"/orders/{order_id}/resolution/{move}"
    await shop.refused("POST", path, body, status=502, code="PROVIDER_ERROR")
    assert await fault.fired() == 1
    assert (await shop.done("GET", f"/orders/{order_id}"))["status"] == "IN_PROGRESS"
    assert await done_steps(stage, order_id) == done
    assert await shop.units(order_id) == {"escrow": 10 * UNIT}
    await shop.live.assert_conserved(stage.world)
    await stage.post(path, body)
    await stage.paid_out_once(order_id, "RELEASED" if move == "release" else "REFUNDED")
    steps = await done_steps(stage, order_id)
    assert steps[: len(done)] == done
    assert len(steps) == len(set(steps)), "no step was made twice"
    await shop.live.assert_conserved(stage.world)


async def test_f19_a_release_given_up_in_the_middle_can_become_a_refund(stage: Stage) -> None:
    """Marked and approved on the contract, but not released: the decision changes, and the contract follows."""
    shop, order_id = stage.shop, await stage.order("IN_PROGRESS")
    fault = await stage.world.fault(*build("release-funds"), **REFUSE)
    await shop.refused("POST", f"/orders/{order_id}/resolution/release", status=502, code="PROVIDER_ERROR")
    assert await fault.fired() == 1
    await stage.post(f"/orders/{order_id}/resolution/refund", {"reason": "changed our minds"})
    await stage.paid_out_once(order_id, "REFUNDED")
    await shop.live.assert_conserved(stage.world)


@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_f19_the_middle_one_of_three_milestones_stumbles(stage: Stage, nth: int) -> None:
    """The n-th approval meets an outage: the saga waits, and goes on without repeating what is done."""
    shop = stage.shop
    milestones = [{"ref": f"m{index}", "title": f"Part {index}", "amount": "3.00"} for index in range(3)]
    order_id = await shop.order(stage.buyer, stage.seller, "9.00", "IN_PROGRESS", milestones=milestones)
    for index in range(3):
        await shop.done("POST", f"/orders/{order_id}/milestones/m{index}/complete")
    fault = await stage.world.fault(*build("approve-milestone"), "error_before", status=503, nth=nth, times=1)
    await stage.post(f"/orders/{order_id}/resolution/release")
    await stage.paid_out_once(order_id, "RELEASED")
    assert await fault.fired() == 1
    steps = await done_steps(stage, order_id)
    assert steps == ["change_milestone_status"] * 3 + ["approve_milestone"] * 3 + ["release_funds"]
    await shop.live.assert_conserved(stage.world)
