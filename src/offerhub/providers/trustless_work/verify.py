"""The signer that refuses: is this unsigned transaction exactly what we asked for? (providers.md 4.2)

Trustless Work builds the transactions that our keys sign. Whoever controls that API, or the way to it, could
hand us anything; this is where anything else stops. Everything is compared: the source, the one operation, the
contract, the function, each argument that matters, the authorizations, the fee, the time bounds. Argument order
is that of the contract's source (providers.md 5.1). Loads stellar-sdk: import it where it is used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from offerhub.errors import SigningRefused
from offerhub.providers.stellar.envelope import (
    DecodedOperation,
    DecodedTransaction,
    Invocation,
    UnreadableEnvelopeError,
    decode,
)
from offerhub.providers.stellar.network import Asset, token_contract
from offerhub.providers.trustless_work.intents import (
    ApproveIntent,
    CallIntent,
    Deployer,
    DeployIntent,
    DisputeIntent,
    DisputeMilestoneIntent,
    EscrowTerms,
    EscrowType,
    FundIntent,
    Intent,
    ReleaseIntent,
    ReleaseMilestoneIntent,
    ResolveIntent,
    ResolveMilestoneIntent,
    Roles,
    StatusIntent,
    WithdrawIntent,
)

MAX_TIME_SECONDS_MAX: Final = 600
"""How far ahead a transaction may expire. Longer would keep an unknown outcome open for as long."""
MIN_TIME_SECONDS_MAX: Final = 60
"""How much later than now it may begin to be valid: two clocks differ. Later, it would only stand in the way."""

_FUNCTIONS: Final[dict[type[Intent], str]] = {
    DeployIntent: "deploy",
    FundIntent: "fund_escrow",
    StatusIntent: "change_milestone_status",
    ApproveIntent: "approve_milestone",
    ReleaseIntent: "release_funds",
    DisputeIntent: "dispute_escrow",
    ResolveIntent: "resolve_dispute",
    ReleaseMilestoneIntent: "release_milestone_funds",
    DisputeMilestoneIntent: "dispute_milestone",
    ResolveMilestoneIntent: "resolve_milestone_dispute",
    WithdrawIntent: "withdraw_remaining_funds",
}
_COMMON_FIELDS: Final = frozenset(
    {
        "engagement_id",
        "title",
        "description",
        "roles",
        "platform_fee",
        "milestones",
        "trustline",
        "receiver_memo",
    }
)
_ESCROW_FIELDS: Final[dict[EscrowType, frozenset[str]]] = {
    "single-release": _COMMON_FIELDS | {"amount", "flags"},
    "multi-release": _COMMON_FIELDS,
}
_MILESTONE_FIELDS: Final[dict[EscrowType, list[str]]] = {
    "single-release": ["approved", "description", "evidence", "status"],
    "multi-release": ["amount", "description", "evidence", "flags", "receiver", "status"],
}
_UNTOUCHED: Final = {"disputed": False, "released": False, "resolved": False}


@dataclass(frozen=True, slots=True)
class Verified:
    """What the caller stores before signing. `max_time` is Unix seconds; `fee` the whole bid in stroops.

    `deployer` is who deploys what, when this is a deployment.
    """

    hash: str
    source: str
    sequence: int
    max_time: int
    fee: int
    deployer: Deployer | None = None


def verify(
    unsigned_xdr: str,
    intent: Intent,
    *,
    passphrase: str,
    fee_cap: int,
    now: datetime,
    factory: str | None,
    wasm_hash: str | None = None,
    closed_at: datetime | None = None,
) -> Verified:
    """Check an unsigned transaction against what was asked for.

    `fee_cap` is in stroops for the whole transaction. `factory` pins the contract that deploys (None: any), and
    `wasm_hash` (hex) the code that it may deploy. `now` is the later of our time and the ledger's; `closed_at`, when
    the latest ledger closed, decides what has expired, since a host's clock may be wrong. Raises SigningRefused;
    `details.field` names what differs.
    """
    try:
        transaction = decode(unsigned_xdr, passphrase)
    except UnreadableEnvelopeError as error:
        raise SigningRefused(field="envelope", found=_shown(str(error))) from error
    operation = _check_envelope(transaction, intent.signer, fee_cap, now, closed_at or now)
    _require("function", operation.function, _FUNCTIONS[type(intent)])
    deployer = None
    if isinstance(intent, DeployIntent):
        if factory is not None:
            _require("contract", operation.contract, factory)
        _check_deploy(operation.args, intent, passphrase, wasm_hash)
        assert operation.contract is not None
        deployer = Deployer(operation.contract, _deployment(operation.args)[0])
    else:
        _require("contract", operation.contract, intent.contract_id)
        _check_call(operation.args, intent, passphrase)
    _check_authorizations(operation, intent, passphrase)
    return Verified(
        transaction.hash,
        transaction.source,
        transaction.sequence,
        transaction.max_time,
        transaction.fee,
        deployer,
    )


def _check_envelope(
    transaction: DecodedTransaction, signer: str, fee_cap: int, now: datetime, closed_at: datetime
) -> DecodedOperation:
    _require("signatures", transaction.signatures, 0)
    _require("source", transaction.source, signer)
    _require("memo", transaction.has_memo, False)
    _require("operations", len(transaction.operations), 1)
    if transaction.fee > fee_cap:
        raise SigningRefused(field="fee", expected=f"at most {fee_cap}", found=transaction.fee)
    # Other preconditions, such as a foreign extra signer, are nothing that we asked for.
    _require("time_bounds", transaction.preconditions, "time")
    moment, past = int(now.timestamp()), int(closed_at.timestamp())
    if not past < transaction.max_time <= moment + MAX_TIME_SECONDS_MAX:
        expected = f"after {past}, at most {MAX_TIME_SECONDS_MAX} s after {moment}"
        raise SigningRefused(field="max_time", expected=expected, found=transaction.max_time)
    if transaction.min_time > moment + MIN_TIME_SECONDS_MAX:
        expected = f"at most {MIN_TIME_SECONDS_MAX} s after {moment}"
        raise SigningRefused(field="min_time", expected=expected, found=transaction.min_time)
    operation = transaction.operations[0]
    _require("operation.type", operation.type, "invoke_host_function")
    if operation.source is not None:
        _require("operation.source", operation.source, signer)
    return operation


def _check_call(args: tuple[Any, ...], intent: CallIntent, passphrase: str) -> None:
    expected: dict[str, Any]
    match intent:
        case FundIntent():
            # The contract compares this with what it stores, but the contract might not be the one we think.
            _require("arguments", len(args), 3)
            _check_escrow(args[1], intent.terms, passphrase, "expected_escrow")
            expected = {"signer": intent.signer, "expected_escrow": args[1], "amount": intent.amount}
        case StatusIntent():
            expected = {
                "milestone_index": intent.milestone_index,
                "status": intent.new_status,
                "evidence": intent.evidence,
                "service_provider": intent.signer,
            }
        case ApproveIntent():
            expected = {"milestone_index": intent.milestone_index, "approver": intent.signer}
        case ReleaseIntent():
            expected = {"release_signer": intent.signer}
        case DisputeIntent():
            expected = {"signer": intent.signer}
        case ResolveIntent():
            expected = {"dispute_resolver": intent.signer, "distributions": dict(intent.distributions)}
        case ReleaseMilestoneIntent():
            expected = {"release_signer": intent.signer, "milestone_index": intent.milestone_index}
        case DisputeMilestoneIntent():
            expected = {"milestone_index": intent.milestone_index, "signer": intent.signer}
        case ResolveMilestoneIntent():
            expected = {
                "dispute_resolver": intent.signer,
                "milestone_index": intent.milestone_index,
                "distributions": dict(intent.distributions),
            }
        case WithdrawIntent():
            expected = {"dispute_resolver": intent.signer, "distributions": dict(intent.distributions)}
    _require("arguments", len(args), len(expected))
    for (name, wanted), found in zip(expected.items(), args, strict=True):
        _require(name, found, wanted)


def _check_deploy(args: tuple[Any, ...], intent: DeployIntent, passphrase: str, wasm_hash: str | None) -> None:
    _require("deployer", args[0] if args else None, intent.signer)
    code, escrow = _deployment(args)
    if wasm_hash is not None:
        _require("wasm_hash", code, wasm_hash)
    _check_escrow(escrow, intent.terms, passphrase, "escrow")


def _deployment(args: tuple[Any, ...]) -> tuple[str | None, Any]:
    """The hash of the code to deploy (hex; None when the factory alone knows it) and the escrow.

    The published deployer takes (deployer, wasm_hash, salt, init_fn, init_args[, constructor_args]); a factory
    that knows its code takes (deployer, salt, escrow), which is what our sandbox speaks.
    """
    match args[1:]:
        case (bytes() as code, bytes(), "initialize_escrow", [escrow]):
            return code.hex(), escrow
        case (bytes() as code, bytes(), "initialize_escrow", [escrow], []):
            return code.hex(), escrow
        case (bytes(), escrow):
            return None, escrow
    raise SigningRefused(field="arguments", expected="a deployment of one escrow", found=_shown(args))


def _check_escrow(escrow: Any, terms: EscrowTerms, passphrase: str, name: str) -> None:
    """The contract's escrow struct (providers.md 5.1), which names the token contract as its trustline."""
    if not isinstance(escrow, dict):
        raise SigningRefused(field=name, expected="a map", found=_shown(escrow))
    strange = sorted(str(key) for key in set(escrow) - _ESCROW_FIELDS[terms.escrow_type])
    _require(f"{name} fields", strange, [])
    token = token_contract(Asset(terms.asset_code, terms.issuer), passphrase)
    wanted: dict[str, Any] = {
        "engagement_id": terms.engagement_id,
        "title": terms.title,
        "description": terms.description,
        "roles": _roles(terms),
        "platform_fee": terms.platform_fee_bps,
    }
    if terms.escrow_type == "single-release":
        wanted |= {"amount": terms.amount, "flags": _UNTOUCHED}
    for field, value in wanted.items():
        _require(f"{name}.{field}", escrow.get(field), value)
    trustline = escrow.get("trustline")
    found_token = trustline.get("address") if isinstance(trustline, dict) else None
    _require(f"{name}.trustline", found_token, token)
    if escrow.get("receiver_memo"):
        raise SigningRefused(field=f"{name}.receiver_memo", expected="none", found=_shown(escrow["receiver_memo"]))
    _check_milestones(escrow.get("milestones"), terms, f"{name}.milestones")


def _check_milestones(milestones: Any, terms: EscrowTerms, name: str) -> None:
    """Each milestone as it was asked for, and nothing approved: work begins after the funding."""
    if not isinstance(milestones, list) or not all(isinstance(item, dict) for item in milestones):
        raise SigningRefused(field=name, expected="a list of maps", found=_shown(milestones))
    _require(name, [item.get("description") for item in milestones], list(terms.milestones))
    count = len(milestones)
    wanted: dict[str, list[Any]] = {}
    if terms.escrow_type == "single-release":
        wanted["approved"] = [False] * count
    else:
        wanted["amount"] = list(terms.milestone_amounts)
        wanted["receiver"] = [terms.roles.receiver] * count
        wanted["flags"] = [_UNTOUCHED | {"approved": False}] * count
    for field, values in wanted.items():
        _require(f"{name}.{field}", [item.get(field) for item in milestones], values)
    for item in milestones:
        _require(f"{name} fields", sorted(map(str, item)), _MILESTONE_FIELDS[terms.escrow_type])


def _roles(terms: EscrowTerms) -> dict[str, str]:
    """In a multi-release contract the receivers are the milestones'."""
    names = [name for name in Roles.__struct_fields__ if name != "receiver" or not terms.milestone_amounts]
    return {name: getattr(terms.roles, name) for name in names}


def _check_authorizations(operation: DecodedOperation, intent: Intent, passphrase: str) -> None:
    """The signature also authorizes what is listed here, so it may list nothing beyond the call itself."""
    allowed = [(operation.contract, operation.function, operation.args)]
    if isinstance(intent, FundIntent):
        token = token_contract(Asset(intent.terms.asset_code, intent.terms.issuer), passphrase)
        allowed.append((token, "transfer", (intent.signer, intent.contract_id, intent.amount)))
    if isinstance(intent, DeployIntent):
        code, _ = _deployment(operation.args)
        if code is not None:
            allowed.append((None, "create_contract", (intent.signer, code)))
    for authorization in operation.authorizations:
        if authorization.address is not None:
            _require("authorization.address", authorization.address, intent.signer)
        for invocation in _flat(authorization.root):
            call = (invocation.contract, invocation.function, invocation.args)
            # Each may be used once: an authorization listed twice would let a transfer happen twice.
            if call not in allowed:
                raise SigningRefused(field="authorization", found=_shown(call))
            allowed.remove(call)


def _flat(invocation: Invocation) -> Iterator[Invocation]:
    yield invocation
    for below in invocation.below:
        yield from _flat(below)


def _require(field: str, found: Any, expected: Any) -> None:
    # True equals 1 in Python; on the chain they are different values.
    if type(found) is not type(expected) or found != expected:
        raise SigningRefused(field=field, expected=_shown(expected), found=_shown(found))


def _shown(value: Any) -> str:
    return repr(value)[:200]
