"""The exact shapes of Trustless Work v1 on the wire (providers.md 4.3, contract 12.1). Pure.

Amounts are JSON numbers in whole tokens. The platform fee is a percentage on the wire and basis points on the chain.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from offerhub.kernel.money import Units
from offerhub.providers.numbers import exact_number, number, units_of
from offerhub.providers.trustless_work.intents import (
    ApproveIntent,
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
    StatusIntent,
    WithdrawIntent,
)

CONTRACT_ERRORS: Final[Mapping[EscrowType, Mapping[int, str]]] = {
    "single-release": {
        1: "AmountCannotBeZero",
        2: "AlreadyInitialized",
        3: "NotFound",
        4: "OnlyReleaseSigner",
        5: "NotCompleted",
        6: "BalanceNotEnough",
        7: "OnlyPlatform",
        8: "OnlyServiceProvider",
        9: "NoMilestone",
        10: "InvalidIndex",
        11: "OnlyApprover",
        12: "OnlyDisputeResolver",
        13: "AlreadyInDispute",
        14: "NotInDispute",
        15: "InsufficientFundsForResolution",
        16: "OpenedForDispute",
        22: "MilestoneApproved",
        23: "HasFunds",
        24: "AlreadyResolved",
        25: "TooManyRequested",
        26: "UnauthorizedToDispute",
        27: "TooManyMilestones",
        29: "AlreadyApproved",
        30: "EmptyStatus",
        31: "FeeTooHigh",
        32: "FlagsMustBeFalse",
        33: "PropertiesMismatch",
        35: "AlreadyReleased",
        37: "PlatformImmutable",
        38: "AmountsMustBePositive",
        39: "DistributionsMustEqualBalance",
        40: "ResolverCannotDispute",
        41: "TotalZero",
    },
    "multi-release": {
        1: "NotFunded",
        2: "AmountCannotBeZero",
        3: "AlreadyInitialized",
        4: "NotFound",
        5: "OnlyReleaseSigner",
        6: "NotCompleted",
        7: "BalanceNotEnough",
        8: "OnlyPlatform",
        9: "OnlyServiceProvider",
        10: "NoMilestone",
        11: "InvalidIndex",
        12: "OnlyApprover",
        13: "OnlyDisputeResolver",
        14: "AlreadyInDispute",
        15: "NotInDispute",
        16: "InsufficientFundsForResolution",
        17: "OpenedForDispute",
        25: "AlreadyResolved",
        27: "UnauthorizedToDispute",
        28: "TooManyMilestones",
        29: "CannotReleaseInDispute",
        30: "AlreadyReleased",
        32: "AlreadyApproved",
        33: "EmptyStatus",
        34: "FeeTooHigh",
        35: "FlagsMustBeFalse",
        36: "PropertiesMismatch",
        39: "DisputeExceedsMilestone",
        41: "NotFullyProcessed",
        42: "AmountsMustBePositive",
        44: "PlatformImmutable",
        46: "ResolverCannotDispute",
        47: "TotalZero",
    },
}
"""The contracts' error numbers (providers.md 5.5): one number means different things in the two of them."""

ESCROW_NOT_FOUND: Final = "NotFound"

_CONTRACT_ERROR = re.compile(r"Error\(Contract, #(\d{1,4})\)", re.ASCII)

_PROSE: Final = (
    ("escrow not found", ESCROW_NOT_FOUND),
    ("already been initialized", "AlreadyInitialized"),
    ("already initialized", "AlreadyInitialized"),
    ("already been approved", "AlreadyApproved"),
    ("already in dispute", "AlreadyInDispute"),
    ("not in dispute", "NotInDispute"),
    ("already resolved", "AlreadyResolved"),
    ("already released", "AlreadyReleased"),
    ("only the release signer", "OnlyReleaseSigner"),
    ("only the approver", "OnlyApprover"),
    ("only the service provider", "OnlyServiceProvider"),
    ("only the dispute resolver", "OnlyDisputeResolver"),
)
"""Words that the API uses instead of a number. Its wording is not promised, so this is a hint, never a rule."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a call was refused: the API's words, and the contract's error when they give it away."""

    message: str
    contract_error: int | None
    contract_error_name: str | None

    def details(self) -> dict[str, Any]:
        """For the details of an error."""
        return {
            "message": self.message,
            "contract_error": self.contract_error,
            "contract_error_name": self.contract_error_name,
        }


def percent(bps: int) -> msgspec.Raw:
    """Basis points as the text of a JSON number of percent: 250 is `2.5`."""
    whole, hundredths = divmod(bps, 100)
    text = f"{whole}.{hundredths:02d}".rstrip("0").rstrip(".") if hundredths else str(whole)
    return msgspec.Raw(text.encode())


def request_for(intent: Intent) -> tuple[str, bytes]:
    """The path and the JSON body of the call that builds the intent's transaction."""
    path, body = _request(intent)
    return path, msgspec.json.encode(body)


def _request(intent: Intent) -> tuple[str, dict[str, Any]]:
    if isinstance(intent, DeployIntent):
        return f"/deployer/{intent.escrow_type}", _deploy_body(intent.signer, intent.terms)
    path = f"/escrow/{intent.escrow_type}/{_ACTIONS[type(intent)]}"
    body: dict[str, Any] = {"contractId": intent.contract_id}
    match intent:
        case FundIntent():
            body |= {"signer": intent.signer, "amount": number(intent.amount)}
        case StatusIntent():
            body |= {
                "milestoneIndex": str(intent.milestone_index),
                "newStatus": intent.new_status,
                "newEvidence": intent.evidence,
                "serviceProvider": intent.signer,
            }
        case ApproveIntent():
            body |= {"milestoneIndex": str(intent.milestone_index), "approver": intent.signer}
        case ReleaseIntent() | ReleaseMilestoneIntent():
            body["releaseSigner"] = intent.signer
        case DisputeIntent() | DisputeMilestoneIntent():
            body["signer"] = intent.signer
        case ResolveIntent() | ResolveMilestoneIntent() | WithdrawIntent():
            parts = [{"address": address, "amount": exact_number(part)} for address, part in intent.distributions]
            body |= {"disputeResolver": intent.signer, "distributions": parts}
    if isinstance(intent, ReleaseMilestoneIntent | DisputeMilestoneIntent | ResolveMilestoneIntent):
        body["milestoneIndex"] = str(intent.milestone_index)
    return path, body


_ACTIONS: Final[dict[type[Intent], str]] = {
    FundIntent: "fund-escrow",
    StatusIntent: "change-milestone-status",
    ApproveIntent: "approve-milestone",
    ReleaseIntent: "release-funds",
    DisputeIntent: "dispute-escrow",
    ResolveIntent: "resolve-dispute",
    ReleaseMilestoneIntent: "release-milestone-funds",
    DisputeMilestoneIntent: "dispute-milestone",
    ResolveMilestoneIntent: "resolve-milestone-dispute",
    WithdrawIntent: "withdraw-remaining-funds",
}


def _deploy_body(signer: str, terms: EscrowTerms) -> dict[str, Any]:
    roles = terms.roles
    body: dict[str, Any] = {
        "signer": signer,
        "engagementId": terms.engagement_id,
        "title": terms.title,
        "description": terms.description,
        "roles": {
            "approver": roles.approver,
            "serviceProvider": roles.service_provider,
            "platformAddress": roles.platform_address,
            "releaseSigner": roles.release_signer,
            "disputeResolver": roles.dispute_resolver,
        },
        "platformFee": percent(terms.platform_fee_bps),
        # The classic issuer, not the token contract, although the chain stores the latter.
        "trustline": {"address": terms.issuer, "symbol": terms.asset_code},
    }
    if terms.escrow_type == "single-release":
        body["roles"] |= {"receiver": roles.receiver}
        body["amount"] = number(terms.amount)
        body["milestones"] = [{"description": description} for description in terms.milestones]
        return body
    body["milestones"] = [
        {"description": description, "amount": number(amount), "receiver": roles.receiver}
        for description, amount in zip(terms.milestones, terms.milestone_amounts, strict=True)
    ]
    return body


def read_refusal(body: Any, text: str, escrow_type: EscrowType = "single-release") -> Refused:
    """The reason in a NestJS-like error body, or in whatever came instead of one."""
    said = body.get("message") if isinstance(body, dict) else None
    if isinstance(said, list):
        said = "; ".join(map(str, said))
    message = (said if isinstance(said, str) else text)[:500]
    names = CONTRACT_ERRORS[escrow_type]
    found = _CONTRACT_ERROR.search(message)
    if found is not None:
        return Refused(message, int(found[1]), names.get(int(found[1])))
    lowered = message.lower()
    name = next((name for words, name in _PROSE if words in lowered), None)
    return Refused(message, next((code for code, one in names.items() if one == name), None), name)


@dataclass(frozen=True, slots=True)
class MilestoneView:
    """A milestone as the API's index shows it. Only one of a multi-release escrow has an amount and flags."""

    status: str
    approved: bool
    amount: Units | None = None
    disputed: bool = False
    released: bool = False
    resolved: bool = False


@dataclass(frozen=True, slots=True)
class EscrowView:
    """An escrow as the API's index shows it. It lags behind the chain: evidence for people, not for the books.

    The flags are those of a single-release escrow; in a multi-release one its milestones have them.
    """

    contract_id: str
    engagement_id: str
    amount: Units
    balance: Units | None
    disputed: bool
    released: bool
    resolved: bool
    milestones: tuple[MilestoneView, ...]


def read_escrow(row: dict[str, Any]) -> EscrowView:
    """Raises KeyError, TypeError, ValueError for a row of another shape."""
    balance, flags = row.get("balance"), _flags(row)
    milestones = tuple(_milestone(item) for item in row["milestones"])
    if row.get("type") == "multi-release":
        amount = Units(sum(units_of(item["amount"]) for item in row["milestones"]))
    else:
        amount = units_of(row["amount"])
    return EscrowView(
        contract_id=row["contractId"],
        engagement_id=row["engagementId"],
        amount=amount,
        balance=None if balance is None else units_of(balance),
        disputed=flags["disputed"],
        released=flags["released"],
        resolved=flags["resolved"],
        milestones=milestones,
    )


def _milestone(item: dict[str, Any]) -> MilestoneView:
    flags, amount = _flags(item), item.get("amount")
    return MilestoneView(
        status=item.get("status", ""),
        approved=item.get("approved") is True or flags["approved"],
        amount=None if amount is None else units_of(amount),
        disputed=flags["disputed"],
        released=flags["released"],
        resolved=flags["resolved"],
    )


def _flags(row: dict[str, Any]) -> dict[str, bool]:
    """Every flag, whether it is there or not."""
    said = row.get("flags") or {}
    return {name: said.get(name) is True for name in ("approved", "disputed", "released", "resolved")}
