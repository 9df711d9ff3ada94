"""The exact shapes of Trustless Work v1 on the wire (providers.md 4.3, contract 12.1). Pure.

Amounts are JSON numbers in whole tokens. The platform fee is a percentage on the wire and basis points on the chain.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from offerhub.kernel.money import Units
from offerhub.providers.numbers import exact_number, number, units_of
from offerhub.providers.trustless_work.intents import (
    ApproveIntent,
    DeployIntent,
    DisputeIntent,
    EscrowTerms,
    FundIntent,
    Intent,
    ReleaseIntent,
    ResolveIntent,
    StatusIntent,
)

CONTRACT_ERRORS: Final = {
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
}
"""The single-release contract's error numbers (providers.md 5.5); multi-release gives them other meanings."""

ESCROW_NOT_FOUND: Final = 3

_CONTRACT_ERROR = re.compile(r"Error\(Contract, #(\d{1,4})\)", re.ASCII)

_PROSE: Final = (
    ("escrow not found", ESCROW_NOT_FOUND),
    ("already been initialized", 2),
    ("already initialized", 2),
    ("already been approved", 29),
    ("already in dispute", 13),
    ("not in dispute", 14),
    ("already resolved", 24),
    ("already released", 35),
    ("only the release signer", 4),
    ("only the approver", 11),
    ("only the service provider", 8),
    ("only the dispute resolver", 12),
)
"""Words that the API uses instead of a number. Its wording is not promised, so this is a hint, never a rule."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a call was refused: the API's words, and the contract's error when they give it away."""

    message: str
    contract_error: int | None

    def details(self) -> dict[str, Any]:
        """For the details of an error."""
        number = self.contract_error
        name = None if number is None else CONTRACT_ERRORS.get(number)
        return {"message": self.message, "contract_error": number, "contract_error_name": name}


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
        return "/deployer/single-release", _deploy_body(intent.signer, intent.terms)
    path = f"/escrow/single-release/{_ACTIONS[type(intent)]}"
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
        case ReleaseIntent():
            body["releaseSigner"] = intent.signer
        case DisputeIntent():
            body["signer"] = intent.signer
        case ResolveIntent():
            parts = [{"address": address, "amount": exact_number(part)} for address, part in intent.distributions]
            body |= {"disputeResolver": intent.signer, "distributions": parts}
    return path, body


_ACTIONS: Final[dict[type[Intent], str]] = {
    FundIntent: "fund-escrow",
    StatusIntent: "change-milestone-status",
    ApproveIntent: "approve-milestone",
    ReleaseIntent: "release-funds",
    DisputeIntent: "dispute-escrow",
    ResolveIntent: "resolve-dispute",
}


def _deploy_body(signer: str, terms: EscrowTerms) -> dict[str, Any]:
    roles = terms.roles
    return {
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
            "receiver": roles.receiver,
        },
        "amount": number(terms.amount),
        "platformFee": percent(terms.platform_fee_bps),
        "milestones": [{"description": description} for description in terms.milestones],
        # The classic issuer, not the token contract, although the chain stores the latter.
        "trustline": {"address": terms.issuer, "symbol": terms.asset_code},
    }


def read_refusal(body: Any, text: str) -> Refused:
    """The reason in a NestJS-like error body, or in whatever came instead of one."""
    said = body.get("message") if isinstance(body, dict) else None
    if isinstance(said, list):
        said = "; ".join(map(str, said))
    message = (said if isinstance(said, str) else text)[:500]
    found = _CONTRACT_ERROR.search(message)
    if found is not None:
        return Refused(message, int(found[1]))
    lowered = message.lower()
    return Refused(message, next((value for words, value in _PROSE if words in lowered), None))


@dataclass(frozen=True, slots=True)
class EscrowView:
    """An escrow as the API's index shows it. It lags behind the chain: evidence for people, not for the books."""

    contract_id: str
    engagement_id: str
    amount: Units
    balance: Units | None
    disputed: bool
    released: bool
    resolved: bool
    milestones: tuple[tuple[str, bool], ...]
    """(status, approved) of each milestone."""


def read_escrow(row: dict[str, Any]) -> EscrowView:
    """Raises KeyError, TypeError, ValueError for a row of another shape."""
    flags = row.get("flags") or {}
    balance = row.get("balance")
    return EscrowView(
        contract_id=row["contractId"],
        engagement_id=row["engagementId"],
        amount=units_of(row["amount"]),
        balance=None if balance is None else units_of(balance),
        disputed=flags.get("disputed") is True,
        released=flags.get("released") is True,
        resolved=flags.get("resolved") is True,
        milestones=tuple((item.get("status", ""), item.get("approved") is True) for item in row["milestones"]),
    )
