"""The real clients, the signer and the verifier against the sandbox, over HTTP: the product's whole path."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from offerhub.errors import ProviderError
from offerhub.kernel.money import Units
from offerhub.providers.stellar.horizon import Accepted, Horizon, Rejected, Unknown
from offerhub.providers.stellar.keys import NewKeypair, new_keypair
from offerhub.providers.stellar.network import XLM, Network
from offerhub.providers.stellar.transactions import (
    Signed,
    build_payment,
    build_sponsored_account,
    build_trustline,
    fee_bump,
    sign,
)
from offerhub.providers.trustless_work.client import SendRejected, SendUnknown, Sent, TrustlessWork
from offerhub.providers.trustless_work.fees import release_net, resolve_nets
from offerhub.providers.trustless_work.intents import (
    ApproveIntent,
    DeployIntent,
    DisputeIntent,
    EscrowTerms,
    FundIntent,
    Intent,
    ReleaseIntent,
    ResolveIntent,
    Roles,
    StatusIntent,
)
from offerhub.providers.trustless_work.verify import verify
from offerhub.providers.trustless_work.wire import MilestoneView
from offerhub.runtime.http import HttpClient
from support.outside import PATIENCE_SECONDS

FEE_CAP = 1_000_000
PRICE = Units(800_000_000)
LEDGER_SECONDS = "0.03"


@dataclass
class World:
    """A running sandbox, our clients of it, and its controls."""

    url: str
    info: dict[str, Any]
    http: HttpClient
    horizon: Horizon
    trustless: TrustlessWork

    @property
    def network(self) -> Network:
        return self.horizon.network

    async def control(self, path: str, **body: Any) -> Any:
        answer = await self.http.call("POST", f"{self.url}/_sim/{path}", name="sim", body=json.dumps(body).encode())
        assert answer.status == 200, answer.text
        return answer.json()

    async def sequence(self, address: str) -> int:
        account = await self.horizon.account(address)
        assert account is not None
        return account.sequence + 1

    async def max_time(self) -> int:
        return int((await self.horizon.latest_ledger()).closed_at.timestamp()) + 120

    async def usdc(self, address: str) -> int | None:
        account = await self.horizon.account(address)
        return None if account is None else account.usdc

    async def wallet(self, usdc: str | None = None) -> NewKeypair:
        """A funded account of ours with a trustline, by our own transactions."""
        keys = new_keypair()
        await self.horizon.friendbot(keys.address)
        unsigned = build_trustline(
            self.network.passphrase,
            source=keys.address,
            sequence=await self.sequence(keys.address),
            asset=self.network.usdc,
            fee=1000,
            max_time=await self.max_time(),
        )
        signed = sign(unsigned.xdr, self.network.passphrase, [keys.secret])
        assert isinstance(await self.horizon.submit(signed.xdr), Accepted)
        if usdc is not None:
            await self.control("mint", address=keys.address, amount=usdc)
        return keys

    async def sign(self, intent: Intent, keys: NewKeypair) -> Signed:
        """Build, verify and sign one step of an escrow."""
        unsigned = await self.trustless.build(intent)
        verified = verify(
            unsigned,
            intent,
            passphrase=self.network.passphrase,
            fee_cap=FEE_CAP,
            now=datetime.now(UTC),
            factory=self.info["factory_contract"],
        )
        signed = sign(unsigned, self.network.passphrase, [keys.secret])
        assert signed.hash == verified.hash
        return signed

    async def step(self, intent: Intent, keys: NewKeypair) -> Sent:
        """One whole step, which must succeed and be found by its hash."""
        signed = await self.sign(intent, keys)
        sent = await self.trustless.send(signed.xdr)
        assert isinstance(sent, Sent), sent
        found = await self.horizon.transaction(signed.hash)
        assert found is not None
        assert found.successful
        assert found.returned_contract == sent.contract_id
        return sent


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "offerhub.sandbox", "--port", "0", "--ledger-seconds", LEDGER_SECONDS),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    ready = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS)).decode()
    url = ready.removeprefix("sandbox ready ").strip()
    try:
        async with HttpClient() as http:
            yield await _meet(http, url)
    finally:
        process.terminate()
        await process.wait()


async def _meet(http: HttpClient, url: str) -> World:
    info = (await http.call("GET", f"{url}/_sim/info", name="sim")).json()
    network = Network(
        info["network_passphrase"],
        info["horizon_url"],
        info["usdc"]["issuer"],
        info["usdc"]["code"],
        info["friendbot_url"],
    )
    horizon = Horizon(http, network)
    trustless = TrustlessWork(http, info["trustless_work_url"], info["trustless_api_key"])
    return World(url, info, http, horizon, trustless)


@dataclass
class Escrow:
    """A deployed and funded escrow and the people around it."""

    contract: str
    terms: EscrowTerms
    buyer: NewKeypair
    seller: NewKeypair
    platform: NewKeypair
    resolver: NewKeypair


async def funded_escrow(world: World) -> Escrow:
    buyer = await world.wallet("100")
    seller, platform, resolver = [await world.wallet() for _ in range(3)]
    terms = EscrowTerms(
        engagement_id="ord_1",
        title="Logo",
        description="A logo",
        roles=Roles(
            approver=buyer.address,
            service_provider=seller.address,
            platform_address=platform.address,
            release_signer=buyer.address,
            dispute_resolver=resolver.address,
            receiver=seller.address,
        ),
        amount=PRICE,
        platform_fee_bps=250,
        milestones=("Sketch", "Vector"),
        issuer=world.network.usdc_issuer,
    )
    contract = (await world.step(DeployIntent(buyer.address, terms), buyer)).contract_id
    assert contract is not None
    await world.step(FundIntent(contract, buyer.address, PRICE, terms), buyer)
    assert await world.trustless.balances([contract]) == {contract: PRICE}
    assert await world.usdc(buyer.address) == 200_000_000
    return Escrow(contract, terms, buyer, seller, platform, resolver)


def test_the_token_contract_is_the_sandbox_s(world: World) -> None:
    assert world.network.usdc_contract == world.info["usdc"]["contract"]


async def test_an_order_is_released_and_the_fees_are_as_computed(world: World) -> None:
    escrow = await funded_escrow(world)
    for index in range(2):
        status = StatusIntent(escrow.contract, escrow.seller.address, index, "completed", "see link")
        await world.step(status, escrow.seller)
        await world.step(ApproveIntent(escrow.contract, escrow.buyer.address, index), escrow.buyer)
    release = await world.sign(ReleaseIntent(escrow.contract, escrow.buyer.address), escrow.buyer)
    assert isinstance(await world.horizon.submit(release.xdr), Accepted)

    fees = release_net(PRICE, 250)
    transfers = await world.horizon.transfers(release.hash)
    paid = {transfer.to_address: transfer.amount for transfer in transfers}
    assert paid == {
        world.info["trustless_work_fee_account"]: fees.trustless_work,
        escrow.platform.address: fees.platform,
        escrow.seller.address: fees.net,
    }
    assert {transfer.from_address for transfer in transfers} == {escrow.contract}
    assert len({transfer.operation_id for transfer in transfers}) == 1
    assert await world.usdc(escrow.seller.address) == fees.net

    view = await world.trustless.escrow(escrow.contract)
    assert view is not None
    assert (view.released, view.balance, view.amount) == (True, 0, PRICE)
    assert view.milestones == (MilestoneView("completed", True),) * 2

    # The same bytes once more: the original outcome, and nothing paid twice.
    assert isinstance(await world.horizon.submit(release.xdr), Accepted)
    assert await world.usdc(escrow.seller.address) == fees.net


async def test_a_dispute_is_split_as_computed(world: World) -> None:
    escrow = await funded_escrow(world)
    parts = (Units(480_000_000), Units(320_000_000))
    await world.step(DisputeIntent(escrow.contract, escrow.buyer.address), escrow.buyer)
    await world.step(
        ResolveIntent(
            escrow.contract,
            escrow.resolver.address,
            ((escrow.seller.address, parts[0]), (escrow.buyer.address, parts[1])),
        ),
        escrow.resolver,
    )
    resolution = resolve_nets(PRICE, 250, parts)
    assert await world.usdc(escrow.seller.address) == resolution.nets[0]
    assert await world.usdc(escrow.buyer.address) == 200_000_000 + resolution.nets[1]
    assert await world.usdc(escrow.platform.address) == resolution.platform


async def test_a_premature_release_is_refused_with_the_contract_s_number(world: World) -> None:
    escrow = await funded_escrow(world)
    with pytest.raises(ProviderError) as caught:
        await world.trustless.build(ReleaseIntent(escrow.contract, escrow.buyer.address))
    assert caught.value.details["contract_error"] == 5
    assert caught.value.details["contract_error_name"] == "NotCompleted"


async def test_a_bad_key_and_an_unknown_escrow(world: World) -> None:
    stranger = TrustlessWork(world.http, world.info["trustless_work_url"], "wrong")
    with pytest.raises(ProviderError, match="API key"):
        await stranger.balances([world.network.usdc_contract])
    assert await world.trustless.escrow(world.network.usdc_contract) is None
    assert isinstance(await world.trustless.send("AAAA"), SendRejected)


async def test_deposits_are_found_from_a_cursor(world: World) -> None:
    wallet = await world.wallet()
    start = await world.horizon.newest_payment_cursor()
    await world.control("mint", address=wallet.address, amount="25.5", memo="dep_1")
    page = await world.horizon.payments_after(start)
    (deposit,) = [transfer for transfer in page.transfers if transfer.to_address == wallet.address]
    assert (deposit.amount, deposit.asset) == (255_000_000, world.network.usdc)
    assert (deposit.memo, deposit.memo_type, deposit.kind) == ("dep_1", "text", "payment")
    assert page.unreadable == ()
    again = await world.horizon.payments_after(page.cursor)
    assert wallet.address not in {transfer.to_address for transfer in again.transfers}
    newest, *_, oldest = await world.horizon.account_payments(wallet.address, 10)
    assert (newest.type, newest.amount) == ("payment", "25.5000000")
    assert (oldest.type, oldest.asset) == ("create_account", XLM)


async def test_every_page_of_the_whole_history_is_readable(world: World) -> None:
    cursor, seen = None, 0
    while True:
        page = await world.horizon.payments_after(cursor, limit=5)
        assert page.unreadable == ()
        cursor, seen = page.cursor, seen + len(page.transfers)
        if not page.is_full:
            break
    assert seen > 0


async def test_a_payment_out_and_its_failures(world: World) -> None:
    payer, payee = await world.wallet("10"), await world.wallet()
    poor = new_keypair()
    await world.horizon.friendbot(poor.address)
    await world.horizon.friendbot(poor.address)  # a second time is fine

    async def pay(to: str, amount: int, sequence: int | None = None) -> Signed:
        unsigned = build_payment(
            world.network.passphrase,
            source=payer.address,
            sequence=sequence or await world.sequence(payer.address),
            destination=to,
            amount=Units(amount),
            asset=world.network.usdc,
            fee=1000,
            max_time=await world.max_time(),
            memo="wd_1",
        )
        return sign(unsigned.xdr, world.network.passphrase, [payer.secret])

    good = await pay(payee.address, 60_000_000)
    outcome = await world.horizon.submit(good.xdr)
    assert isinstance(outcome, Accepted)
    assert outcome.hash == good.hash
    assert await world.usdc(payee.address) == 60_000_000

    too_much = await pay(payee.address, 60_000_000)
    assert await world.horizon.submit(too_much.xdr) == Rejected("tx_failed", ("op_underfunded",), included=True)
    found = await world.horizon.transaction(too_much.hash)
    assert found is not None
    assert (found.successful, found.code, found.operation_codes) == (False, "tx_failed", ("op_underfunded",))

    no_trust = await pay(poor.address, 10_000_000)
    assert await world.horizon.submit(no_trust.xdr) == Rejected("tx_failed", ("op_no_trust",), included=True)

    stale = await pay(payee.address, 10_000_000, sequence=await world.sequence(payer.address) - 1)
    rejected = await world.horizon.submit(stale.xdr)
    assert rejected == Rejected("tx_bad_seq", (), included=False)
    assert await world.horizon.transaction(stale.hash) is None


async def test_a_new_wallet_in_one_transaction_and_a_fee_bump(world: World) -> None:
    treasury, user = await world.wallet("5"), new_keypair()
    before = await world.horizon.account(treasury.address)
    assert before is not None
    unsigned = build_sponsored_account(
        world.network.passphrase,
        source=treasury.address,
        sequence=await world.sequence(treasury.address),
        sponsor=treasury.address,
        account=user.address,
        create=True,
        asset=world.network.usdc,
        fee=1000,
        max_time=await world.max_time(),
    )
    signed = sign(unsigned.xdr, world.network.passphrase, [treasury.secret, user.secret])
    bumped = fee_bump(
        signed.xdr, world.network.passphrase, fee_source=treasury.address, fee=2000, secrets=[treasury.secret]
    )
    assert isinstance(await world.horizon.submit(bumped.xdr), Accepted)
    account = await world.horizon.account(user.address)
    assert account is not None
    assert (account.xlm, account.xlm_spendable, account.usdc, account.is_authorized) == (0, 0, 0, True)
    after = await world.horizon.account(treasury.address)
    assert after is not None
    assert before.xlm_spendable - after.xlm_spendable == 15_000_000 + (before.xlm - after.xlm)
    assert account.usdc_room > 10**15
    for transaction_hash in (signed.hash, bumped.hash):
        found = await world.horizon.transaction(transaction_hash)
        assert found is not None
        assert found.successful
        assert found.ledger_hash == bumped.hash


@pytest.mark.parametrize("kind", ["lose_response", "error_after"])
async def test_a_lost_answer_is_settled_by_the_hash(world: World, kind: str) -> None:
    """The effect happened, the answer did not arrive: unknown, then found; the same bytes change nothing."""
    payer, payee = await world.wallet("10"), await world.wallet()
    unsigned = build_payment(
        world.network.passphrase,
        source=payer.address,
        sequence=await world.sequence(payer.address),
        destination=payee.address,
        amount=Units(60_000_000),
        asset=world.network.usdc,
        fee=1000,
        max_time=await world.max_time(),
    )
    signed = sign(unsigned.xdr, world.network.passphrase, [payer.secret])
    await world.control("faults", face="horizon", route="/transactions$", kind=kind, times=1, method="POST")
    assert isinstance(await world.horizon.submit(signed.xdr), Unknown)
    found = await world.horizon.transaction(signed.hash)
    assert found is not None
    assert found.successful
    assert isinstance(await world.horizon.submit(signed.xdr), Accepted)
    assert await world.usdc(payee.address) == 60_000_000


@pytest.mark.parametrize("kind", ["lose_response", "error_after"])
async def test_a_lost_answer_of_the_api_is_settled_by_the_hash(world: World, kind: str) -> None:
    buyer, platform = await world.wallet(), await world.wallet()
    me = buyer.address
    roles = Roles(me, me, platform.address, me, platform.address, me)
    terms = EscrowTerms("ord_2", "Logo", "A logo", roles, PRICE, 0, ("All",), world.network.usdc_issuer)
    signed = await world.sign(DeployIntent(buyer.address, terms), buyer)
    await world.control("faults", face="trustless_work", route="/helper/send", kind=kind, times=1)
    assert isinstance(await world.trustless.send(signed.xdr), SendUnknown)
    found = await world.horizon.transaction(signed.hash)
    assert found is not None
    assert found.returned_contract is not None
    assert await world.trustless.balances([found.returned_contract]) == {found.returned_contract: 0}
