"""A malicious Trustless Work: every field of every transaction altered in turn; nothing is signed, nothing moves.

The whole product runs against a face that bends what the honest one builds. For each call of both contracts: the
request ends in a refusal, the order is back where it was, no envelope was stored or sent, the chain and the books are
what they were, and the refusal is kept. Then the same face is honest once, and the same call goes through.

A short run draws some of the fields.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from offerhub.providers.stellar.envelope import decode
from offerhub.providers.stellar.network import Asset, network_id, token_contract
from support.long_runs import Tally, drawn
from support.malicious import BENDS, FOREIGN, THIEF, Bend, MaliciousFace, argument_bends, malicious_face
from support.outside import World
from support.product import Marketplace, Person, Running, running


@dataclass(frozen=True)
class Call:
    """A call of a contract: the API's path of its build, the request that makes it, and where an order stands."""

    step: str
    route: str
    stage: str
    move: str
    after: str
    body: dict[str, Any] | None = None
    escrow_type: str = "single-release"


REFUND = {"reason": "not delivered"}
CALLS = [
    Call("deploy_escrow", "/deployer/", "FUNDS_RESERVED", "escrow", "ESCROW_FUNDING"),
    Call("fund_escrow", "/fund-escrow", "ESCROW_FUNDING", "escrow/fund", "IN_PROGRESS"),
    Call("change_milestone_status", "/change-milestone-status", "IN_PROGRESS", "resolution/release", "CLOSED"),
    Call("approve_milestone", "/approve-milestone", "IN_PROGRESS", "resolution/release", "CLOSED"),
    Call("release_funds", "/release-funds", "IN_PROGRESS", "resolution/release", "CLOSED"),
    Call("dispute_escrow", "/dispute-escrow", "IN_PROGRESS", "resolution/refund", "CLOSED", REFUND),
    Call("resolve_dispute", "/resolve-dispute", "IN_PROGRESS", "resolution/refund", "CLOSED", REFUND),
]
RELEASE_ONE, REFUND_ONE = "milestones/m/release", "milestones/m/refund"
MULTI = [
    Call("deploy_escrow", "/deployer/multi-release", "FUNDS_RESERVED", "escrow", "ESCROW_FUNDING"),
    Call("fund_escrow", "/multi-release/fund-escrow", "ESCROW_FUNDING", "escrow/fund", "IN_PROGRESS"),
    Call("change_milestone_status", "/change-milestone-status", "IN_PROGRESS", RELEASE_ONE, "CLOSED"),
    Call("approve_milestone", "/multi-release/approve-milestone", "IN_PROGRESS", RELEASE_ONE, "CLOSED"),
    Call("release_milestone_funds", "/release-milestone-funds", "IN_PROGRESS", RELEASE_ONE, "CLOSED"),
    Call("dispute_milestone", "/dispute-milestone", "IN_PROGRESS", REFUND_ONE, "CLOSED", REFUND),
    Call("resolve_milestone_dispute", "/resolve-milestone-dispute", "IN_PROGRESS", REFUND_ONE, "CLOSED", REFUND),
]
CALLS += [replace(call, escrow_type="multi-release") for call in MULTI]

FREE = (".status", ".evidence")
"""Texts of a milestone that no payment depends on; the contract compares those of `expected_escrow` itself."""


@pytest.fixture(scope="module")
async def face(sandbox_environ: dict[str, str], http: aiohttp.ClientSession) -> AsyncIterator[MaliciousFace]:
    async with malicious_face(sandbox_environ["TRUSTLESS_API_URL"], http) as found:
        yield found


@pytest.fixture(scope="module")
async def robbed(office_environ: dict[str, str], face: MaliciousFace, world: World) -> AsyncIterator[Running]:
    """The product, with that face for Trustless Work."""
    async with running({**office_environ, "TRUSTLESS_API_URL": face.url}) as found:
        yield found
        await found.assert_conserved(world)


@pytest.fixture(scope="module")
async def shop(robbed: Running, world: World, http: aiohttp.ClientSession) -> Marketplace:
    return await Marketplace.found(robbed, world, http)


@pytest.fixture(scope="module")
async def pair(shop: Marketplace) -> tuple[Person, Person]:
    buyer, seller = await shop.people("500", None)
    # The first deployments pin the factories.
    await shop.order(buyer, seller, "1.00", "ESCROW_FUNDING")
    one = [{"ref": "m", "title": "All of it"}]
    await shop.order(buyer, seller, "1.00", "ESCROW_FUNDING", milestones=one, escrow_type="multi-release")
    return buyer, seller


async def everything(shop: Marketplace, face: MaliciousFace, order_id: str, pair: tuple[Person, Person]) -> Any:
    """What must stay as it is: the books, the chain down to sequence numbers, envelopes, what was sent."""
    resolver = await shop.live.value("SELECT public_key FROM wallets WHERE purpose = 'resolver'")
    accounts = []
    for address in (*(one.address for one in pair), resolver):
        account = await shop.live.product.horizon.account(address)
        assert account is not None
        accounts.append((account.usdc, account.xlm, account.sequence))
    return (
        [await shop.units(owner) for owner in (pair[0].id, pair[1].id, order_id)],
        accounts,
        await shop.live.value("SELECT count(*) FROM envelopes"),
        await shop.live.value("SELECT count(*) FROM ledger.transactions"),
        len(face.sent),
    )


async def refuse(shop: Marketplace, face: MaliciousFace, order_id: str, call: Call, bend: Bend) -> str:
    """Ask for the call while it is bent; returns the field that the refusal names."""
    with face.bending(call.route, bend):
        details = await shop.refused(
            "POST", f"/orders/{order_id}/{call.move}", call.body, status=502, code="PROVIDER_ERROR"
        )
    order = await shop.done("GET", f"/orders/{order_id}")
    assert order["status"] == call.stage
    return str(details["field"])


@pytest.mark.long_form
@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.escrow_type}-{call.step}")
async def test_f22_every_field_altered_in_turn(
    shop: Marketplace, face: MaliciousFace, pair: tuple[Person, Person], call: Call, tally: Tally
) -> None:
    more = {"milestones": [{"milestone_ref": "m", "title": "All of it", "amount": "10.00"}]}
    order_id = await shop.order(*pair, "10.00", call.stage, **more, escrow_type=call.escrow_type)
    subjects = [order_id, (await shop.done("GET", f"/orders/{order_id}"))["milestones"][0]["id"]]
    if "release" in call.move:
        await shop.done("POST", f"/orders/{order_id}/milestones/m/complete")
    # What goes before this call is done honestly, once; from here on nothing may move.
    name, field, bend = BENDS[0]
    assert (await refuse(shop, face, order_id, call, bend)) == field, name
    before = await everything(shop, face, order_id, pair)
    bends = drawn(BENDS[1:], 4)
    for name, field, bend in bends:
        named = await refuse(shop, face, order_id, call, bend)
        assert named == field or not field, f"{name}: {named}"
    altered = [one for one in argument_bends(face.honest) if not one[0].endswith(FREE)]
    if call.step == "deploy_escrow":
        altered = [one for one in altered if one[0] != "argument 1"]  # the salt is the deployer's to choose
    assert altered
    altered = drawn(altered, 4)
    for name, bend in altered:
        print(f"altered: {name}")  # shown when the refusal is not ours
        assert await refuse(shop, face, order_id, call, bend), name
    assert await everything(shop, face, order_id, pair) == before
    made = """
        SELECT count(*) FROM envelopes e JOIN saga_steps s USING (saga_id, position) JOIN sagas g ON g.id = s.saga_id
        WHERE g.subject_id = ANY($1::text[]) AND s.name = $2
    """
    assert await shop.live.value(made, subjects, call.step) == 0
    kept = "SELECT sum(times)::integer FROM refused_envelopes WHERE subject_id = ANY($1::text[]) AND step = $2"
    assert await shop.live.value(kept, subjects, call.step) == 1 + len(bends) + len(altered)
    tally("altered envelopes refused", 1 + len(bends) + len(altered))
    # The same face, honest for once: it was the bending that was refused.
    done = await shop.done("POST", f"/orders/{order_id}/{call.move}", call.body)
    assert done["status"] == call.after
    assert await shop.live.value(made, subjects, call.step) == 1
    assert len(face.sent) > before[-1]


async def test_f22_a_refusal_is_recorded_once_and_counted(
    shop: Marketplace, face: MaliciousFace, pair: tuple[Person, Person]
) -> None:
    order_id = await shop.order(*pair, "10.00", "ESCROW_FUNDING")
    bend = next(bend for name, _, bend in BENDS if name == "the contract")
    for _ in range(3):
        assert await refuse(shop, face, order_id, CALLS[1], bend) == "contract"
    contract = (await shop.done("GET", f"/orders/{order_id}"))["escrow"]["contractId"]
    [row] = await shop.live.rows("SELECT * FROM refused_envelopes WHERE subject_id = $1", order_id)
    assert (row["step"], row["field"], row["times"]) == ("fund_escrow", "contract", 3)
    assert (row["expected"], row["found"]) == (repr(contract), repr(FOREIGN))
    [operation] = decode(row["xdr"], shop.live.product.network.passphrase).operations
    assert operation.contract == FOREIGN
    support = await shop.with_key("support")
    heard = await support.get(f"/audit/logs?action=ENVELOPE_REFUSED&resourceId={order_id}")
    [entry] = heard.data
    assert entry["result"] == "DISCREPANCY_FOUND"
    assert entry["payloadBefore"] | {"expected": repr(contract)} == entry["payloadBefore"]
    assert entry["payloadAfter"] | {"found": repr(FOREIGN), "step": "fund_escrow"} == entry["payloadAfter"]
    stored = "SELECT refusal, status FROM sagas WHERE id = $1"
    [saga] = await shop.live.rows(stored, row["saga_id"])
    assert (saga["status"], saga["refusal"]["code"]) == ("REFUSED", "PROVIDER_ERROR")
    assert await shop.sagas(order_id) == [("escrow.deploy", "SUCCEEDED"), *[("escrow.fund", "REFUSED")] * 3]


async def test_f22_the_first_deployer_is_pinned(
    shop: Marketplace, face: MaliciousFace, pair: tuple[Person, Person]
) -> None:
    """Another factory could hand out a contract that keeps what is paid into it."""
    pinned = await shop.live.rows(
        "SELECT network, escrow_type, contract_id, code_hash FROM pinned_deployers ORDER BY escrow_type DESC"
    )
    info = await shop.world.control("GET", "info")
    network = network_id(info["network_passphrase"]).hex()
    assert [tuple(row) for row in pinned] == [
        (network, "single-release", info["factory_contract"], None),
        (network, "multi-release", info["multi_release_factory_contract"], None),
    ]


@pytest.mark.parametrize(
    ("variable", "escrow_type"),
    [("TRUSTLESS_DEPLOYER", "single-release"), ("TRUSTLESS_MULTI_RELEASE_DEPLOYER", "multi-release")],
)
async def test_f22_a_configured_deployer_outranks_the_pinned_one(
    office_environ: dict[str, str],
    shop: Marketplace,
    face: MaliciousFace,
    pair: tuple[Person, Person],
    variable: str,
    escrow_type: str,
) -> None:
    other = token_contract(Asset("OTHER", THIEF.public_key), office_environ["STELLAR_NETWORK_PASSPHRASE"])
    changed = {"TRUSTLESS_API_URL": face.url, variable: other}
    one = [{"ref": "m", "title": "All of it"}]
    order_id = await shop.order(*pair, "10.00", "FUNDS_RESERVED", milestones=one, escrow_type=escrow_type)
    async with running({**office_environ, **changed}, jobs=False) as strict:
        details = await shop.on(strict).refused(
            "POST", f"/orders/{order_id}/escrow", status=502, code="PROVIDER_ERROR"
        )
        assert (details["field"], details["expected"]) == ("contract", repr(other))
    assert (await shop.done("POST", f"/orders/{order_id}/escrow"))["status"] == "ESCROW_FUNDING"


async def test_f22_what_it_claims_of_a_sent_transaction_is_not_believed(
    shop: Marketplace, face: MaliciousFace, pair: tuple[Person, Person]
) -> None:
    """It names a contract of its own for a deployment that happened: the chain's is taken, and paid into."""
    order_id = await shop.order(*pair, "10.00", "FUNDS_RESERVED")
    face.lies = {"status": "SUCCESS", "contractId": FOREIGN, "escrow": {"contractId": FOREIGN}}
    try:
        deployed = await shop.done("POST", f"/orders/{order_id}/escrow")
        await shop.done("POST", f"/orders/{order_id}/escrow/fund")
    finally:
        face.lies = {}
    contracts = (await shop.world.control("GET", "state"))["contracts"]
    [ours] = [one for one in contracts if one["engagement_id"] == order_id]
    assert deployed["escrow"]["contractId"] == ours["address"] != FOREIGN
    await shop.live.assert_conserved(shop.world)
