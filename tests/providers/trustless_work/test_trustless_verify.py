"""The signer refuses whatever is not exactly what was asked for, and names the field."""

import base64
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stellar_sdk import (
    Account,
    Address,
    Keypair,
    MuxedAccount,
    Network,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
    xdr,
)
from stellar_sdk import Asset as SdkAsset
from stellar_sdk.operation import InvokeHostFunction, Payment

from offerhub.errors import SigningRefused
from offerhub.kernel.money import Units
from offerhub.providers.stellar.network import Asset, token_contract
from offerhub.providers.trustless_work.intents import (
    ApproveIntent,
    Deployer,
    DeployIntent,
    DisputeIntent,
    DisputeMilestoneIntent,
    EscrowTerms,
    FundIntent,
    Intent,
    ReleaseIntent,
    ReleaseMilestoneIntent,
    ResolveIntent,
    ResolveMilestoneIntent,
    Roles,
    StatusIntent,
    WithdrawIntent,
    read_intent,
)
from offerhub.providers.trustless_work.verify import Verified, verify

PASSPHRASE = Network.TESTNET_NETWORK_PASSPHRASE
BUYER, SELLER, PLATFORM, RESOLVER, THIEF, ISSUER = (
    Keypair.from_raw_ed25519_seed(bytes([n]) * 32).public_key for n in range(1, 7)
)
CONTRACT = token_contract(Asset("ESCROW", ISSUER), PASSPHRASE)
FACTORY = token_contract(Asset("FACTORY", ISSUER), PASSPHRASE)
OTHER_CONTRACT = token_contract(Asset("OTHER", ISSUER), PASSPHRASE)
TOKEN = token_contract(Asset("USDC", ISSUER), PASSPHRASE)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
NOW_SECONDS = int(NOW.timestamp())
FEE_CAP = 500_000
CODE = b"\x07" * 32

ROLES = Roles(BUYER, SELLER, PLATFORM, BUYER, RESOLVER, SELLER)
TERMS = EscrowTerms(
    engagement_id="ord_1",
    title="Logo",
    description="A logo",
    roles=ROLES,
    amount=Units(800_000_000),
    platform_fee_bps=250,
    milestones=("Sketch", "Vector"),
    issuer=ISSUER,
)
DEPLOY = DeployIntent(BUYER, TERMS)
FUND = FundIntent(CONTRACT, BUYER, Units(800_000_000), TERMS)
STATUS = StatusIntent(CONTRACT, SELLER, 1, "completed", "see link")
APPROVE = ApproveIntent(CONTRACT, BUYER, 1)
RELEASE = ReleaseIntent(CONTRACT, BUYER)
DISPUTE = DisputeIntent(CONTRACT, BUYER)
RESOLVE = ResolveIntent(CONTRACT, RESOLVER, ((SELLER, Units(480_000_000)), (BUYER, Units(320_000_000))))
MULTI = msgspec.structs.replace(TERMS, milestone_amounts=(Units(500_000_000), Units(300_000_000)))
MULTI_DEPLOY = DeployIntent(BUYER, MULTI)
MULTI_FUND = FundIntent(CONTRACT, BUYER, Units(800_000_000), MULTI)
MULTI_STATUS = StatusIntent(CONTRACT, SELLER, 1, "completed", "see link", "multi-release")
MULTI_APPROVE = ApproveIntent(CONTRACT, BUYER, 1, "multi-release")
RELEASE_ONE = ReleaseMilestoneIntent(CONTRACT, BUYER, 1)
DISPUTE_ONE = DisputeMilestoneIntent(CONTRACT, BUYER, 1)
SHARES = ((SELLER, Units(200_000_000)), (BUYER, Units(100_000_000)))
RESOLVE_ONE = ResolveMilestoneIntent(CONTRACT, RESOLVER, 1, SHARES)
WITHDRAW = WithdrawIntent(CONTRACT, RESOLVER, SHARES)


def struct(fields: dict[str, xdr.SCVal]) -> xdr.SCVal:
    return scval.to_map({scval.to_symbol(name): fields[name] for name in sorted(fields)})


def escrow(**changes: xdr.SCVal | None) -> xdr.SCVal:
    fields: dict[str, xdr.SCVal | None] = {
        "engagement_id": scval.to_string("ord_1"),
        "title": scval.to_string("Logo"),
        "description": scval.to_string("A logo"),
        "roles": roles(),
        "amount": scval.to_int128(800_000_000),
        "platform_fee": scval.to_uint32(250),
        "milestones": scval.to_vec([milestone("Sketch"), milestone("Vector")]),
        "flags": flags(),
        "trustline": struct({"address": scval.to_address(TOKEN)}),
        "receiver_memo": scval.to_int128(0),
    }
    return struct({name: value for name, value in (fields | changes).items() if value is not None})


def multi_escrow(**changes: xdr.SCVal | None) -> xdr.SCVal:
    held = {name: scval.to_address(getattr(ROLES, name)) for name in Roles.__struct_fields__ if name != "receiver"}
    parts = scval.to_vec([part("Sketch", 500_000_000), part("Vector", 300_000_000)])
    multi: dict[str, xdr.SCVal | None] = {"amount": None, "flags": None, "roles": struct(held), "milestones": parts}
    return escrow(**(multi | changes))


def part(description: str, amount: int, receiver: str = SELLER, **changes: Any) -> xdr.SCVal:
    held = {"approved": False, "disputed": False, "released": False, "resolved": False} | changes.pop("flags", {})
    fields = {
        "description": scval.to_string(description),
        "status": scval.to_string("pending"),
        "evidence": scval.to_string(""),
        "amount": scval.to_int128(amount),
        "receiver": scval.to_address(receiver),
        "flags": struct({name: scval.to_bool(value) for name, value in held.items()}),
    }
    return struct({name: value for name, value in (fields | changes).items() if value is not None})


def with_second(second: xdr.SCVal) -> xdr.SCVal:
    """A multi-release escrow whose second milestone is this one."""
    return multi_escrow(milestones=scval.to_vec([part("Sketch", 500_000_000), second]))


def roles(**changes: str) -> xdr.SCVal:
    held = {name: getattr(ROLES, name) for name in Roles.__struct_fields__} | changes
    return struct({name: scval.to_address(address) for name, address in held.items()})


def flags(**changes: bool) -> xdr.SCVal:
    held = {"disputed": False, "released": False, "resolved": False} | changes
    return struct({name: scval.to_bool(value) for name, value in held.items()})


def milestone(description: str, *, approved: bool = False) -> xdr.SCVal:
    return struct(
        {
            "description": scval.to_string(description),
            "status": scval.to_string("pending"),
            "evidence": scval.to_string(""),
            "approved": scval.to_bool(approved),
        }
    )


def distributions(*parts: tuple[str, int]) -> xdr.SCVal:
    pairs = [(scval.to_address(address), scval.to_int128(amount)) for address, amount in parts]
    return scval.to_map(dict(sorted(pairs, key=lambda pair: pair[0].to_xdr_bytes())))


@dataclass
class Forge:
    """What the API builds, every part of which a test may bend."""

    source: str
    contract: str
    function: str
    args: list[xdr.SCVal]
    operation_source: str | MuxedAccount | None = None
    fee: int = 100_000
    bounds: tuple[int, int] | None = (0, NOW_SECONDS + 120)
    memo: str | None = None
    auth: list[xdr.SorobanAuthorizationEntry] = field(default_factory=list)
    extra: list[Any] = field(default_factory=list)
    bend: Callable[[TransactionBuilder], Any] = lambda builder: None
    signer: Keypair | None = None

    def xdr(self) -> str:
        builder = TransactionBuilder(Account(self.source, 41), PASSPHRASE, base_fee=self.fee)
        if self.bounds is not None:
            builder.add_time_bounds(*self.bounds)
        host = xdr.HostFunction(
            xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT,
            invoke_contract=call(self.contract, self.function, self.args),
        )
        builder.append_operation(InvokeHostFunction(host, self.auth, self.operation_source))
        for operation in self.extra:
            builder.append_operation(operation)
        if self.memo is not None:
            builder.add_text_memo(self.memo)
        self.bend(builder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK warns when there are no time bounds, as it should
            envelope = builder.build()
        if self.signer is not None:
            envelope.sign(self.signer)
        return envelope.to_xdr()


def call(contract: str, function: str, args: list[xdr.SCVal]) -> xdr.InvokeContractArgs:
    return xdr.InvokeContractArgs(Address(contract).to_xdr_sc_address(), xdr.SCSymbol(function.encode()), args)


def allowed(
    invoked: xdr.InvokeContractArgs,
    below: list[xdr.SorobanAuthorizedInvocation] | None = None,
    address: str | None = None,
) -> xdr.SorobanAuthorizationEntry:
    root = xdr.SorobanAuthorizedInvocation(authorized(invoked), below or [])
    credentials = xdr.SorobanCredentials(xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT)
    if address is not None:
        credentials = xdr.SorobanCredentials(
            xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS,
            xdr.SorobanAddressCredentials(
                Address(address).to_xdr_sc_address(), xdr.Int64(1), xdr.Uint32(9), scval.to_void()
            ),
        )
    return xdr.SorobanAuthorizationEntry(credentials, root)


def authorized(invoked: xdr.InvokeContractArgs) -> xdr.SorobanAuthorizedFunction:
    kind = xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN
    return xdr.SorobanAuthorizedFunction(kind, contract_fn=invoked)


def transfer(to: str, amount: int, token: str = TOKEN) -> xdr.SorobanAuthorizedInvocation:
    args = [scval.to_address(BUYER), scval.to_address(to), scval.to_int128(amount)]
    return xdr.SorobanAuthorizedInvocation(authorized(call(token, "transfer", args)), [])


def creation(code: bytes, deployer: str = BUYER) -> xdr.SorobanAuthorizedInvocation:
    created = xdr.CreateContractArgsV2(
        xdr.ContractIDPreimage(
            xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ADDRESS,
            xdr.ContractIDPreimageFromAddress(Address(deployer).to_xdr_sc_address(), xdr.Uint256(b"s" * 32)),
        ),
        xdr.ContractExecutable(xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM, xdr.Hash(code)),
        [],
    )
    kind = xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CREATE_CONTRACT_V2_HOST_FN
    function = xdr.SorobanAuthorizedFunction(kind, create_contract_v2_host_fn=created)
    return xdr.SorobanAuthorizedInvocation(function, [])


def honest(intent: Intent) -> Forge:
    """What an honest API answers."""
    me = scval.to_address(intent.signer)
    contract, index, place = CONTRACT, scval.to_int128(1), scval.to_uint32(1)
    terms = multi_escrow() if intent.escrow_type == "multi-release" else escrow()
    match intent:
        case DeployIntent():
            contract, function, args = FACTORY, "deploy", [me, scval.to_bytes(b"s" * 32), terms]
        case FundIntent():
            function, args = "fund_escrow", [me, terms, scval.to_int128(intent.amount)]
        case StatusIntent():
            texts = [scval.to_string("completed"), scval.to_string("see link")]
            function, args = "change_milestone_status", [index, *texts, me]
        case ApproveIntent():
            function, args = "approve_milestone", [index, me]
        case ReleaseIntent():
            function, args = "release_funds", [me]
        case DisputeIntent():
            function, args = "dispute_escrow", [me]
        case ResolveIntent():
            function, args = "resolve_dispute", [me, distributions(*intent.distributions)]
        case ReleaseMilestoneIntent():
            function, args = "release_milestone_funds", [me, place]
        case DisputeMilestoneIntent():
            function, args = "dispute_milestone", [place, me]
        case ResolveMilestoneIntent():
            function, args = "resolve_milestone_dispute", [me, place, distributions(*intent.distributions)]
        case WithdrawIntent():
            function, args = "withdraw_remaining_funds", [me, distributions(*intent.distributions)]
    return Forge(intent.signer, contract, function, args)


def published_deployer() -> Forge:
    """The deployer as its source is published."""
    args = [
        scval.to_address(BUYER),
        scval.to_bytes(CODE),
        scval.to_bytes(b"s" * 32),
        scval.to_symbol("initialize_escrow"),
        scval.to_vec([escrow()]),
        scval.to_vec([]),
    ]
    forged = Forge(BUYER, FACTORY, "deploy", args)
    forged.auth = [allowed(call(FACTORY, "deploy", args), [creation(CODE)])]
    return forged


def check(forged: Forge, intent: Intent, **pins: Any) -> Verified:
    pins = {"factory": FACTORY, "wasm_hash": None} | pins
    return verify(forged.xdr(), intent, passphrase=PASSPHRASE, fee_cap=FEE_CAP, now=NOW, **pins)


def refused(forged: Forge, intent: Intent, **pins: Any) -> str:
    with pytest.raises(SigningRefused) as caught:
        check(forged, intent, **pins)
    return str(caught.value.details["field"])


ALL: list[Intent] = [
    DEPLOY,
    FUND,
    STATUS,
    APPROVE,
    RELEASE,
    DISPUTE,
    RESOLVE,
    MULTI_DEPLOY,
    MULTI_FUND,
    MULTI_STATUS,
    MULTI_APPROVE,
    RELEASE_ONE,
    DISPUTE_ONE,
    RESOLVE_ONE,
    WITHDRAW,
]


@pytest.mark.parametrize("intent", ALL, ids=lambda intent: type(intent).__name__)
def test_what_was_asked_for_is_signed(intent: Intent) -> None:
    forged = honest(intent)
    forged.auth = [allowed(call(forged.contract, forged.function, forged.args))]
    verified = check(forged, intent)
    assert verified.source == intent.signer
    assert (verified.sequence, verified.max_time, verified.fee) == (42, NOW_SECONDS + 120, 100_000)
    assert verified.hash == TransactionEnvelope.from_xdr(forged.xdr(), PASSPHRASE).hash_hex()


@pytest.mark.parametrize("asked", ALL, ids=lambda intent: type(intent).__name__)
@pytest.mark.parametrize("built", ALL, ids=lambda intent: type(intent).__name__)
def test_no_call_passes_for_another(asked: Intent, built: Intent) -> None:
    if type(asked) is type(built):
        return
    forged = honest(built)
    forged.source = asked.signer
    assert refused(forged, asked) == "function"


PAYMENT = Payment(Address(THIEF).address, SdkAsset("USDC", ISSUER), "80")

ENVELOPE_BENDS: list[tuple[str, dict[str, Any]]] = [
    ("source", {"source": THIEF}),
    ("contract", {"contract": OTHER_CONTRACT}),
    ("function", {"function": "resolve_dispute"}),
    ("operations", {"extra": [PAYMENT]}),
    ("operation.source", {"operation_source": SELLER}),
    ("operation.source", {"operation_source": MuxedAccount(BUYER, 1)}),
    ("fee", {"fee": FEE_CAP + 1}),
    ("time_bounds", {"bounds": None}),
    ("max_time", {"bounds": (0, 0)}),
    ("max_time", {"bounds": (0, NOW_SECONDS)}),
    ("max_time", {"bounds": (0, NOW_SECONDS + 601)}),
    ("min_time", {"bounds": (NOW_SECONDS + 61, NOW_SECONDS + 120)}),
    ("memo", {"memo": "hello"}),
    ("signatures", {"signer": Keypair.from_raw_ed25519_seed(bytes([5]) * 32)}),
    ("time_bounds", {"bend": lambda builder: builder.set_min_sequence_number(1)}),
    ("arguments", {"args": []}),
    ("arguments", {"args": [scval.to_address(BUYER)] * 2}),
    ("release_signer", {"args": [scval.to_address(THIEF)]}),
    ("release_signer", {"args": [scval.to_void()]}),
]


@pytest.mark.parametrize(("named", "bend"), ENVELOPE_BENDS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_bent_envelope_is_refused(named: str, bend: dict[str, Any]) -> None:
    forged = honest(RELEASE)
    for name, value in bend.items():
        setattr(forged, name, value)
    assert refused(forged, RELEASE) == named


@pytest.mark.parametrize(
    ("fee", "bounds"),
    [(FEE_CAP, (0, NOW_SECONDS + 600)), (100, (0, NOW_SECONDS + 1)), (100, (NOW_SECONDS + 60, NOW_SECONDS + 61))],
)
def test_the_limits_themselves_are_allowed(fee: int, bounds: tuple[int, int]) -> None:
    forged = honest(RELEASE)
    forged.fee, forged.bounds = fee, bounds
    assert check(forged, RELEASE).fee == fee


def test_a_muxed_source_is_refused() -> None:
    forged = honest(RELEASE)
    builder = TransactionBuilder(Account(MuxedAccount(BUYER, 7), 41), PASSPHRASE, base_fee=100)
    builder.add_time_bounds(0, NOW_SECONDS + 120)
    builder.append_invoke_contract_function_op(CONTRACT, "release_funds", forged.args)
    with pytest.raises(SigningRefused) as caught:
        verify(builder.build().to_xdr(), RELEASE, passphrase=PASSPHRASE, fee_cap=FEE_CAP, now=NOW, factory=None)
    assert caught.value.details["field"] == "source"


def test_another_kind_of_operation_is_refused() -> None:
    builder = TransactionBuilder(Account(BUYER, 41), PASSPHRASE, base_fee=100)
    builder.add_time_bounds(0, NOW_SECONDS + 120).append_operation(PAYMENT)
    with pytest.raises(SigningRefused) as caught:
        verify(builder.build().to_xdr(), RELEASE, passphrase=PASSPHRASE, fee_cap=FEE_CAP, now=NOW, factory=None)
    assert caught.value.details["field"] == "operation.type"


@pytest.mark.parametrize("text", ["", "AAAA", "not xdr"])
def test_what_is_not_an_envelope_is_refused(text: str) -> None:
    with pytest.raises(SigningRefused) as caught:
        verify(text, RELEASE, passphrase=PASSPHRASE, fee_cap=FEE_CAP, now=NOW, factory=None)
    assert caught.value.details["field"] == "envelope"


ARGUMENT_BENDS: list[tuple[Intent, int, xdr.SCVal, str]] = [
    (FUND, 0, scval.to_address(SELLER), "signer"),
    (FUND, 2, scval.to_int128(8_000_000_000), "amount"),
    (FUND, 2, scval.to_string("800000000"), "amount"),
    (FUND, 1, scval.to_void(), "expected_escrow"),
    (FUND, 1, escrow(amount=scval.to_int128(1)), "expected_escrow.amount"),
    (FUND, 1, escrow(roles=roles(receiver=THIEF)), "expected_escrow.roles"),
    (FUND, 1, escrow(flags=flags(disputed=True)), "expected_escrow.flags"),
    (STATUS, 0, scval.to_int128(0), "milestone_index"),
    (STATUS, 0, scval.to_bool(True), "milestone_index"),
    (STATUS, 1, scval.to_string("rejected"), "status"),
    (STATUS, 2, scval.to_string("other link"), "evidence"),
    (STATUS, 3, scval.to_address(BUYER), "service_provider"),
    (APPROVE, 0, scval.to_int128(0), "milestone_index"),
    (APPROVE, 1, scval.to_address(SELLER), "approver"),
    (DISPUTE, 0, scval.to_address(SELLER), "signer"),
    (RESOLVE, 0, scval.to_address(BUYER), "dispute_resolver"),
    (RESOLVE, 1, distributions((SELLER, 800_000_000)), "distributions"),
    (RESOLVE, 1, distributions((SELLER, 480_000_001), (BUYER, 319_999_999)), "distributions"),
    (RESOLVE, 1, distributions((THIEF, 480_000_000), (BUYER, 320_000_000)), "distributions"),
    (RESOLVE, 1, distributions((SELLER, 320_000_000), (BUYER, 480_000_000)), "distributions"),
    (DEPLOY, 0, scval.to_address(SELLER), "deployer"),
    (DEPLOY, 1, scval.to_string("salt"), "arguments"),
    (DEPLOY, 2, scval.to_void(), "escrow"),
    (DEPLOY, 2, escrow(engagement_id=scval.to_string("ord_2")), "escrow.engagement_id"),
    (DEPLOY, 2, escrow(title=scval.to_string("x")), "escrow.title"),
    (DEPLOY, 2, escrow(description=scval.to_string("x")), "escrow.description"),
    (DEPLOY, 2, escrow(amount=scval.to_int128(80)), "escrow.amount"),
    (DEPLOY, 2, escrow(amount=None), "escrow.amount"),
    (DEPLOY, 2, escrow(platform_fee=scval.to_uint32(2)), "escrow.platform_fee"),
    (DEPLOY, 2, escrow(platform_fee=scval.to_uint32(25_000)), "escrow.platform_fee"),
    (DEPLOY, 2, escrow(flags=flags(released=True)), "escrow.flags"),
    (DEPLOY, 2, escrow(trustline=struct({"address": scval.to_address(OTHER_CONTRACT)})), "escrow.trustline"),
    (DEPLOY, 2, escrow(trustline=struct({"address": scval.to_address(ISSUER)})), "escrow.trustline"),
    (DEPLOY, 2, escrow(receiver_memo=scval.to_int128(7)), "escrow.receiver_memo"),
    (DEPLOY, 2, escrow(milestones=scval.to_vec([milestone("Sketch")])), "escrow.milestones"),
    (DEPLOY, 2, escrow(milestones=scval.to_vec([scval.to_void()])), "escrow.milestones"),
    (
        FUND,
        1,
        escrow(milestones=scval.to_vec([milestone("Sketch"), milestone("Vector", approved=True)])),
        "expected_escrow.milestones.approved",
    ),
    (
        FUND,
        1,
        escrow(
            milestones=scval.to_vec(
                [
                    milestone("Sketch"),
                    struct({"description": scval.to_string("Vector"), "approved": scval.to_bool(False)}),
                ]
            )
        ),
        "expected_escrow.milestones fields",
    ),
    (
        DEPLOY,
        2,
        escrow(milestones=scval.to_vec([milestone("Sketch", approved=True), milestone("Vector")])),
        "escrow.milestones.approved",
    ),
    (DEPLOY, 2, escrow(admin=scval.to_address(THIEF)), "escrow fields"),
    (MULTI_STATUS, 0, scval.to_int128(0), "milestone_index"),
    (MULTI_APPROVE, 0, scval.to_int128(0), "milestone_index"),
    (RELEASE_ONE, 0, scval.to_address(SELLER), "release_signer"),
    (RELEASE_ONE, 1, scval.to_uint32(0), "milestone_index"),
    (RELEASE_ONE, 1, scval.to_bool(True), "milestone_index"),
    (DISPUTE_ONE, 0, scval.to_uint32(0), "milestone_index"),
    (DISPUTE_ONE, 1, scval.to_address(SELLER), "signer"),
    (RESOLVE_ONE, 0, scval.to_address(BUYER), "dispute_resolver"),
    (RESOLVE_ONE, 1, scval.to_uint32(0), "milestone_index"),
    (RESOLVE_ONE, 2, distributions((SELLER, 300_000_000)), "distributions"),
    (RESOLVE_ONE, 2, distributions((SELLER, 100_000_000), (BUYER, 200_000_000)), "distributions"),
    (RESOLVE_ONE, 2, distributions((THIEF, 200_000_000), (BUYER, 100_000_000)), "distributions"),
    (WITHDRAW, 0, scval.to_address(BUYER), "dispute_resolver"),
    (WITHDRAW, 1, distributions((SELLER, 200_000_000), (BUYER, 100_000_001)), "distributions"),
    # The other type's struct is another contract.
    (DEPLOY, 2, multi_escrow(), "escrow.roles"),
    (MULTI_DEPLOY, 2, escrow(), "escrow fields"),
    (MULTI_FUND, 1, escrow(), "expected_escrow fields"),
    (MULTI_DEPLOY, 2, multi_escrow(amount=scval.to_int128(800_000_000)), "escrow fields"),
    (MULTI_DEPLOY, 2, multi_escrow(flags=flags()), "escrow fields"),
    (MULTI_DEPLOY, 2, multi_escrow(roles=roles()), "escrow.roles"),
    (MULTI_DEPLOY, 2, multi_escrow(platform_fee=scval.to_uint32(2)), "escrow.platform_fee"),
    (MULTI_DEPLOY, 2, multi_escrow(platform_fee=scval.to_uint32(25_000)), "escrow.platform_fee"),
    (MULTI_DEPLOY, 2, multi_escrow(milestones=scval.to_vec([part("Sketch", 800_000_000)])), "escrow.milestones"),
    (MULTI_DEPLOY, 2, with_second(part("Vector", 300_000_001)), "escrow.milestones.amount"),
    (MULTI_DEPLOY, 2, with_second(part("Vector", 300_000_000, THIEF)), "escrow.milestones.receiver"),
    (MULTI_DEPLOY, 2, with_second(part("Vector", 300_000_000, evidence=None)), "escrow.milestones fields"),
    (MULTI_DEPLOY, 2, with_second(part("Vector", 300_000_000, flags={"approved": True})), "escrow.milestones.flags"),
    (MULTI_DEPLOY, 2, with_second(part("Vector", 300_000_000, flags={"extra": True})), "escrow.milestones.flags"),
    (MULTI_DEPLOY, 2, with_second(part("Vector", 300_000_000, more=scval.to_void())), "escrow.milestones fields"),
    (MULTI_FUND, 1, with_second(part("Vector", 300_000_000, THIEF)), "expected_escrow.milestones.receiver"),
    (
        MULTI_FUND,
        1,
        with_second(part("Vector", 300_000_000, flags={"disputed": True})),
        "expected_escrow.milestones.flags",
    ),
    (MULTI_FUND, 2, scval.to_int128(800_000_001), "amount"),
]


@pytest.mark.parametrize(("intent", "position", "value", "named"), ARGUMENT_BENDS)
def test_a_bent_argument_is_refused(intent: Intent, position: int, value: xdr.SCVal, named: str) -> None:
    forged = honest(intent)
    forged.args[position] = value
    assert refused(forged, intent) == named


@pytest.mark.parametrize("intent", ALL, ids=lambda intent: type(intent).__name__)
@pytest.mark.parametrize("surplus", [-9, -1, 1])
def test_too_few_or_too_many_arguments_are_refused(intent: Intent, surplus: int) -> None:
    forged = honest(intent)
    forged.args = forged.args[:surplus] if surplus < 0 else [*forged.args, scval.to_void()]
    assert refused(forged, intent) in {"arguments", "deployer"}


@pytest.mark.parametrize("role", Roles.__struct_fields__)
def test_every_role_is_compared(role: str) -> None:
    forged = honest(DEPLOY)
    forged.args[2] = escrow(roles=roles(**{role: THIEF}))
    assert refused(forged, DEPLOY) == "escrow.roles"


def test_a_map_that_names_an_address_twice_is_refused() -> None:
    entry = distributions((SELLER, 480_000_000)).map
    other = distributions((SELLER, 1), (BUYER, 320_000_000)).map
    assert entry is not None
    assert other is not None
    forged = honest(RESOLVE)
    doubled = xdr.SCMap([*entry.sc_map, *other.sc_map])
    forged.args[1] = xdr.SCVal(xdr.SCValType.SCV_MAP, map=doubled)
    assert refused(forged, RESOLVE) == "envelope"


def test_the_factory_is_pinned() -> None:
    forged = honest(DEPLOY)
    forged.contract = OTHER_CONTRACT
    assert refused(forged, DEPLOY) == "contract"
    seen = check(forged, DEPLOY, factory=None)
    assert seen.deployer == Deployer(OTHER_CONTRACT)
    assert check(honest(FUND), FUND).deployer is None


def test_the_published_deployer_is_understood_and_its_code_pinned() -> None:
    assert check(published_deployer(), DEPLOY, wasm_hash=CODE.hex()).deployer == Deployer(FACTORY, CODE.hex())
    assert refused(published_deployer(), DEPLOY, wasm_hash="08" * 32) == "wasm_hash"
    assert refused(honest(DEPLOY), DEPLOY, wasm_hash=CODE.hex()) == "wasm_hash"
    other = published_deployer()
    other.args[3] = scval.to_symbol("transfer")
    assert refused(other, DEPLOY) == "arguments"
    foreign = published_deployer()
    foreign.auth = [allowed(call(FACTORY, "deploy", foreign.args), [creation(b"\x08" * 32)])]
    assert refused(foreign, DEPLOY) == "authorization"


def _fund_with(*below: xdr.SorobanAuthorizedInvocation, address: str | None = None) -> Forge:
    forged = honest(FUND)
    root = call(forged.contract, forged.function, forged.args)
    forged.auth = [allowed(root, list(below), address)]
    return forged


def test_funding_may_authorize_its_own_transfer_once() -> None:
    assert check(_fund_with(transfer(CONTRACT, 800_000_000)), FUND).source == BUYER
    assert check(_fund_with(transfer(CONTRACT, 800_000_000), address=BUYER), FUND).source == BUYER


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        (_fund_with(transfer(THIEF, 800_000_000)), "authorization"),
        (_fund_with(transfer(CONTRACT, 800_000_001)), "authorization"),
        (_fund_with(transfer(CONTRACT, 800_000_000, OTHER_CONTRACT)), "authorization"),
        (_fund_with(*[transfer(CONTRACT, 800_000_000)] * 2), "authorization"),
        (_fund_with(creation(CODE)), "authorization"),
        (_fund_with(address=SELLER), "authorization.address"),
    ],
)
def test_any_other_authorization_is_refused(forged: Forge, named: str) -> None:
    assert refused(forged, FUND) == named


def test_a_call_that_moves_nothing_may_authorize_no_transfer() -> None:
    forged = honest(APPROVE)
    forged.auth = [allowed(call(CONTRACT, "approve_milestone", forged.args), [transfer(CONTRACT, 800_000_000)])]
    assert refused(forged, APPROVE) == "authorization"


@pytest.mark.parametrize("intent", ALL, ids=lambda intent: type(intent).__name__)
def test_a_stored_intent_comes_back_and_still_verifies(intent: Intent) -> None:
    revived = read_intent(intent.to_json())
    assert revived == intent
    assert type(intent).from_json(intent.to_json()) == intent
    assert check(honest(intent), revived).source == intent.signer


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(ALL),
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 255)), min_size=1, max_size=4),
    st.booleans(),
)
def test_damaged_bytes_are_refused_and_nothing_else_happens(
    intent: Intent, flips: list[tuple[int, int]], published: bool
) -> None:
    """Whatever the bytes are: a refusal, or exactly what was asked for; never another error."""
    forged = published_deployer() if published and isinstance(intent, DeployIntent) else honest(intent)
    damaged = bytearray(base64.b64decode(forged.xdr()))
    for place, bits in flips:
        damaged[place % len(damaged)] ^= bits
    text = base64.b64encode(damaged).decode()
    try:
        verified = verify(text, intent, passphrase=PASSPHRASE, fee_cap=FEE_CAP, now=NOW, factory=FACTORY)
    except SigningRefused as refusal:
        assert refusal.details["field"]
        return
    assert verified.source == intent.signer
    assert verified.fee <= FEE_CAP
    assert NOW_SECONDS < verified.max_time <= NOW_SECONDS + 600
