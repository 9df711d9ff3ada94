"""F1 to F4: whatever happens to a POST on its way, it has one effect, and the flow that sent it ends well."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from faults.flows import AT_AIRTM, DEPLOY, FUND, ON_CHAIN, PAYOUT, RELEASE, SUBMIT, TOP_UP, WITHDRAWAL, Flow, Stage
from offerhub.kernel.clock import SystemClock
from offerhub.sandbox.airtm import AirtmFace
from offerhub.sandbox.horizon import HorizonFace
from offerhub.sandbox.options import SandboxOptions
from offerhub.sandbox.server import World as Sandbox
from offerhub.sandbox.trustless_work import TrustlessWorkFace
from support.long_runs import drawn
from support.outside import World
from support.payers import top_up
from support.product import Marketplace, Person, Running, fill_treasury, running

pytestmark = pytest.mark.long_form


async def stage_at_airtm(live: Running, world: World, http: aiohttp.ClientSession) -> Stage:
    shop = await Marketplace.found(live, world, http)
    await fill_treasury(live, world, "1000")
    buyer, seller = await shop.people(None, None)
    email = await top_up(shop, buyer, "1000.00")
    return Stage(shop, world, buyer, seller, email)


@pytest.fixture(scope="module")
async def on_chain(shop: Marketplace, pair: tuple[Person, Person], world: World) -> Stage:
    await shop.live.system_is_ready()
    return Stage(shop, world, *pair)


@pytest.fixture(scope="module")
async def at_airtm(airtm_live: Running, world: World, http: aiohttp.ClientSession) -> Stage:
    return await stage_at_airtm(airtm_live, world, http)


# -- F1 ----------------------------------------------------------------------------------------------------------


async def test_f01_every_post_that_we_send_is_in_a_flow() -> None:
    """The sandbox's own tables say which POSTs there are."""
    sandbox = Sandbox(SandboxOptions(ledger_seconds=0), SystemClock())
    try:
        faces = {
            "horizon": HorizonFace(sandbox.chain, sandbox.house).routes(),
            "trustless_work": TrustlessWorkFace(sandbox.chain, sandbox.machine).routes(),
            "airtm": AirtmFace(sandbox.airtm, sandbox.chain.options, sandbox.machine).routes(),
        }
    finally:
        await sandbox.close()
    posts = {
        (face, re.sub(r"\{[^}]+\}", "x", route.path))
        for face, routes in faces.items()
        for route in routes
        if "POST" in (route.methods or set())
    }
    flows = [post for flow in (*ON_CHAIN, *AT_AIRTM) for post in flow.posts]
    left = {post for post in posts if not any(post[0] == face and re.match(route, post[1]) for face, route in flows)}
    # What the product never calls, and the hint to an index, whose loss changes nothing. Milestones that are paid
    # one by one have tests of their own.
    unused = re.compile(r"/transactions_async|/friendbot|/indexer/update-from-tx[hH]ash|.*multi-release.*")
    assert {path for _, path in left if not unused.fullmatch(path)} == set()


@pytest.mark.parametrize("flow", ON_CHAIN, ids=lambda flow: flow.name)
async def test_f01_every_answer_is_lost_once_on_the_chain(on_chain: Stage, flow: Flow) -> None:
    await flow.run(on_chain, "lose_response")
    await on_chain.shop.live.assert_conserved(on_chain.world)


@pytest.mark.parametrize("flow", [*AT_AIRTM, FUND, RELEASE, WITHDRAWAL], ids=lambda flow: flow.name)
async def test_f01_every_answer_is_lost_once_on_the_rail_of_airtm(at_airtm: Stage, flow: Flow) -> None:
    await flow.run(at_airtm, "lose_response")
    await at_airtm.shop.live.assert_conserved(at_airtm.world)


async def test_f01_no_answer_ever_comes_and_the_chain_knows_all_the_same(on_chain: Stage) -> None:
    """Every answer to a submission is lost, for as long as it takes."""
    for flow in drawn((FUND, RELEASE, WITHDRAWAL), 1):
        await _without_answers(on_chain, flow)
    await on_chain.shop.live.assert_conserved(on_chain.world)


async def _without_answers(stage: Stage, flow: Flow) -> None:
    about = await flow.before(stage)
    faults = [
        await stage.world.fault("trustless_work", "/helper/send-transaction$", "lose_response", method="POST"),
        await stage.world.fault(*SUBMIT, "lose_response", method="POST"),
    ]
    await flow.after(stage, about, await flow.during(stage, about))
    assert sum([await fault.fired() for fault in faults]) >= 1
    await stage.world.mend()


# -- F2 and F3 ---------------------------------------------------------------------------------------------------

F02 = [
    ("error_before", {"status": 503}),
    ("error_after", {"status": 500}),
    ("html_page", {}),
    ("truncated_json", {}),
    ("empty_body", {}),
]


@pytest.mark.parametrize(("kind", "more"), F02, ids=[kind for kind, _ in F02])
async def test_f02_broken_answers_on_the_chain(on_chain: Stage, kind: str, more: dict[str, Any]) -> None:
    flows = [flow for flow in ON_CHAIN if kind in {"error_before", "error_after"} or not _builds_break(flow)]
    for flow in drawn(flows, 2):
        await flow.run(on_chain, kind, **more)
    await on_chain.shop.live.assert_conserved(on_chain.world)


def _builds_break(flow: Flow) -> bool:
    return any("/escrow/" in route or "/deployer/" in route for _, route in flow.posts)


@pytest.mark.parametrize("kind", ["html_page", "truncated_json", "empty_body"])
async def test_f02_a_submission_s_broken_answer(on_chain: Stage, kind: str) -> None:
    for flow in drawn(ON_CHAIN, 2):
        sent = Flow(flow.name, (flow.posts[-1],), flow.before, flow.during, flow.after)
        await sent.run(on_chain, kind)
    await on_chain.shop.live.assert_conserved(on_chain.world)


@pytest.mark.parametrize("kind", ["html_page", "truncated_json", "empty_body"])
async def test_f02_a_build_that_cannot_be_read_is_refused_and_asked_for_again(on_chain: Stage, kind: str) -> None:
    """Building has no effect: what is not a transaction is refused, nothing is signed, and the next try goes well."""
    shop, order_id = on_chain.shop, await on_chain.order("IN_PROGRESS")
    fault = await on_chain.world.fault("trustless_work", "/escrow/", kind, times=1, method="POST")
    path = f"/orders/{order_id}/resolution/release"
    await shop.refused("POST", path, status=502, code="PROVIDER_ERROR", key=f"broken-{kind}")
    assert await fault.fired() == 1
    assert (await shop.done("GET", f"/orders/{order_id}"))["status"] == "IN_PROGRESS"
    await shop.live.assert_conserved(on_chain.world)
    await shop.done("POST", path, key=f"broken-{kind}")
    await on_chain.paid_out_once(order_id, "RELEASED")
    await shop.live.assert_conserved(on_chain.world)


@pytest.mark.parametrize(("kind", "more"), F02, ids=[kind for kind, _ in F02])
async def test_f02_broken_answers_of_airtm(at_airtm: Stage, kind: str, more: dict[str, Any]) -> None:
    for flow in AT_AIRTM:
        await flow.run(at_airtm, kind, **more)
    await at_airtm.shop.live.assert_conserved(at_airtm.world)


@pytest.mark.parametrize("more", [{}, {"retry_after": 1}], ids=["bare", "with Retry-After"])
async def test_f03_bursts_of_429(on_chain: Stage, at_airtm: Stage, more: dict[str, Any]) -> None:
    for flow in drawn((DEPLOY, RELEASE, WITHDRAWAL), 1):
        await flow.run(on_chain, "rate_limit", times=2, **more)
    await on_chain.shop.live.assert_conserved(on_chain.world)
    for flow in drawn(AT_AIRTM, 1):
        await flow.run(at_airtm, "rate_limit", **more)
    await at_airtm.shop.live.assert_conserved(at_airtm.world)


async def test_f03_a_provider_s_limit_does_not_starve_the_others(on_chain: Stage) -> None:
    """While Trustless Work limits everything, withdrawals go out."""
    order_id = await on_chain.order("IN_PROGRESS")
    fault = await on_chain.world.fault("trustless_work", ".", "rate_limit")
    releasing = asyncio.create_task(on_chain.post(f"/orders/{order_id}/resolution/release"))
    target = await WITHDRAWAL.before(on_chain)
    await WITHDRAWAL.after(on_chain, target, await WITHDRAWAL.during(on_chain, target))
    assert await fault.fired() >= 1
    await on_chain.world.mend()
    await releasing
    order = await on_chain.shop.done("GET", f"/orders/{order_id}")
    if order["status"] == "IN_PROGRESS":  # nothing had been done outside yet, so it was given up
        await on_chain.post(f"/orders/{order_id}/resolution/release")
    await on_chain.paid_out_once(order_id, "RELEASED")
    await on_chain.shop.live.assert_conserved(on_chain.world)


# -- F4 ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def hasty(office_environ: dict[str, str], world: World, http: aiohttp.ClientSession) -> AsyncIterator[Stage]:
    """A product on the rail of Airtm that waits a second for an answer, and no longer."""
    patience = dict.fromkeys(("AIRTM_TIMEOUT_MS", "TRUSTLESS_TIMEOUT_MS", "STELLAR_TIMEOUT_MS"), "1000")
    async with running({**office_environ, "PAYMENT_PROVIDER": "airtm", **patience}) as live:
        yield await stage_at_airtm(live, world, http)


IDLE = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"


@pytest.mark.parametrize(("kind", "seconds"), [("slow_response", 3), ("slow_body", 1)])
@pytest.mark.parametrize("flow", [TOP_UP, PAYOUT, FUND, WITHDRAWAL], ids=lambda flow: flow.name)
async def test_f04_an_answer_slower_than_our_patience(hasty: Stage, flow: Flow, kind: str, seconds: float) -> None:
    """The work is done, the answer comes too late or never ends. Meanwhile no transaction of ours is open."""
    about = await flow.before(hasty)
    face, route = flow.posts[-1] if flow is not PAYOUT else flow.posts[0]
    if flow is WITHDRAWAL and kind == "slow_body":
        seconds = 0.003  # Horizon answers once a ledger holds the envelope, so a submission is waited for far longer
    fault = await hasty.world.fault(face, route, kind, method="POST", times=1, seconds=seconds)
    asking = asyncio.create_task(flow.during(hasty, about))
    open_for = 0
    while not asking.done():
        open_for = open_for + 1 if await hasty.shop.live.value(IDLE) else 0
        assert open_for < 10, "a transaction stays open while a provider is waited for"
        await asyncio.sleep(0.03)
    await flow.after(hasty, about, await asking)
    assert await fault.fired() == 1
    await hasty.world.mend()
    await hasty.shop.live.assert_conserved(hasty.world)
