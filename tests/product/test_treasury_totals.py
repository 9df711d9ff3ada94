"""The books beside the treasury's account and beside Airtm: what differs twice is a finding."""

from typing import Any, Final

import aiohttp
import pytest

from offerhub.reconciliation import jobs
from offerhub.treasury.totals import AIRTM, TREASURY
from offerhub.wallets.totals import WALLET
from support.outside import World, eventually
from support.payers import top_up
from support.product import Marketplace, Running, fill_treasury
from support.totals import Auditor

UNIT: Final = 10_000_000
MILESTONE: Final = [{"ref": "m1", "title": "Logo"}]

pytestmark = pytest.mark.usefixtures("mended")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two questions."""
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0)


@pytest.fixture(scope="module")
async def shop(tight_live: Running, world: World, http: aiohttp.ClientSession) -> Marketplace:
    """A marketplace on the rail of Airtm, alone at its product."""
    await fill_treasury(tight_live, world, "1000")
    return await Marketplace.found(tight_live, world, http)


@pytest.fixture
def auditor(shop: Marketplace) -> Auditor:
    return Auditor(shop)


async def treasury(shop: Marketplace) -> dict[str, Any]:
    [wallet] = await shop.live.rows("SELECT id, public_key FROM wallets WHERE purpose = 'treasury'")
    return dict(wallet)


async def test_money_of_ones_own_at_airtm_is_known_once_a_person_says_so(
    shop: Marketplace, auditor: Auditor, world: World
) -> None:
    assert (await auditor.look()).errors == 0
    assert (await auditor.look()).discrepancies == 1
    [found] = await auditor.about(AIRTM, "airtm")
    assert found["amountUnits"] > 0
    assert (found["subjectType"], found["evidence"]["inBooks"]) == ("Treasury", "0.0000000")
    await auditor.settle(found, "The enterprise's own.")
    assert (await auditor.look()).discrepancies == 0
    assert await auditor.verdict(AIRTM, "airtm") == "AGREES"

    [alice] = await shop.people(None)
    email = await top_up(shop, alice, "50.00")
    await auditor.look()
    assert await auditor.verdict(AIRTM, "airtm") == "AGREES", "what users pay in is booked"
    made = await shop.done("POST", "/topups", {"userId": alice.id, "amount": "20.00"}, status=201)
    await world.fault("airtm", "/payins", "error_before")
    form = {"action": "pay", "email": email}
    async with shop.http.post(made["confirmationUri"], data=form, allow_redirects=False) as answer:
        assert answer.status == 303
    await world.airtm_payin(made["airtmPayinId"], "confirm")
    assert [(await auditor.look()).discrepancies for _ in range(2)] == [0, 0], "it is under way"
    assert await auditor.verdict(AIRTM, "airtm") == "UNKNOWN"
    await world.mend()

    async def refreshed() -> str:
        return str((await shop.post(f"/topups/{made['id']}/refresh")).json.get("data", {}).get("status"))

    await eventually(refreshed, lambda status: status == "TOPUP_SUCCEEDED")
    await auditor.look()
    assert await auditor.verdict(AIRTM, "airtm") == "AGREES"


async def test_money_missing_in_the_treasury_is_a_finding(shop: Marketplace, auditor: Auditor) -> None:
    buyer, seller = await shop.people(None, None)
    await top_up(shop, buyer, "100.00")
    await shop.order(buyer, seller, "80.00", "IN_PROGRESS", milestones=MILESTONE)
    wallet = await treasury(shop)
    await auditor.look()
    assert await auditor.verdict(TREASURY, wallet["id"]) == "AGREES", "what escrows hold is not in the treasury"
    assert await auditor.verdict(WALLET, buyer.id) == "AGREES", "what came through Airtm is in no wallet"
    await auditor.steal(wallet["public_key"], 3 * UNIT)
    assert [(await auditor.look()).discrepancies for _ in range(2)] == [0, 1]
    [found] = await auditor.about(TREASURY, wallet["id"])
    assert (found["amountUnits"], found["evidence"]["difference"]) == (-3 * UNIT, "-3.0000000")
    position = (await auditor.office.done("GET", "/admin/treasury"))["treasury"]
    assert (position["inBooks"], position["onChain"]) == (found["evidence"]["inBooks"], found["evidence"]["there"])


async def test_when_nobody_answers_nothing_is_judged(shop: Marketplace, auditor: Auditor, world: World) -> None:
    looks = "SELECT * FROM total_looks ORDER BY kind, subject_id"
    before = await shop.live.rows(looks)
    await world.fault("airtm", "/me", "error_before")
    await world.fault("horizon", "/accounts", "error_before")
    away = await auditor.look()
    assert (away.checked, away.discrepancies, away.errors) == (0, 0, 3)
    assert await shop.live.rows(looks) == before
