"""The error catalogue: every code that a client can meet, with its HTTP status (contract 3).

A refusal is raised where the fact is known and becomes `{"error": {"code", "message", "details"}}` at the edge.
The docstring of a class is its message unless the raiser says something more precise; a `remedy` tells an
integrator what to do. Nothing else in the product invents a code.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

_STATE: Final = {
    "currentState": "the state that it is in",
    "allowedStates": "the states in which this is possible",
}
_OF_PROVIDER: Final = {
    "provider": "whom we asked",
    "call": "what we asked for (Trustless Work)",
    "status": "the HTTP status of its answer (Trustless Work)",
    "method": "the HTTP method of our call (Airtm)",
    "path": "its path, without ids (Airtm)",
    "originalStatus": "the HTTP status of its answer, null if there was none (Airtm)",
    "reasonCode": "Airtm's error code, null if there was none",
    "providerMessage": "Airtm's own words, where it had any",
}
_OF_TRANSACTION: Final = {
    "resultCode": "the network's verdict on the transaction",
    "operationCodes": "its verdicts on the operations in it",
}


class Refusal(Exception):
    """The request was refused.

    `facts` is what `details` may hold beside `requestId`, with its meaning: a property is there when it is known.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    remedy: ClassVar[str] = ""
    facts: ClassVar[Mapping[str, str]] = {}
    retry_after_seconds: ClassVar[int | None] = None

    def __init__(self, message: str | None = None, /, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.details = details
        super().__init__(f"{self.code}: {self.message}")


def catalogue() -> dict[str, type[Refusal]]:
    """Code to class, for the documentation and for bringing a stored refusal back to life."""
    found: dict[str, type[Refusal]] = {}
    waiting = [Refusal]
    while waiting:
        error = waiting.pop()
        waiting.extend(error.__subclasses__())
        if error is not Refusal:
            found.setdefault(error.code, error)
    return found


def revive(code: str, message: str, details: dict[str, Any]) -> Refusal:
    """The refusal that a saga stored, as an exception again."""
    return catalogue().get(code, InternalError)(message, **details)


class InternalError(Refusal):
    """Something went wrong on our side; the request id finds it in our logs."""

    code = "INTERNAL_ERROR"
    status = 500
    remedy = "Retry with the same Idempotency-Key; report the request id if it persists."
    facts = {
        "hash": "the transaction on the chain that it is about",
        "contract": "the contract that it is about",
        "kind": "the kind of account in the books",
        "accounts": "the accounts that there is no key for",
    }


# -- who is calling -------------------------------------------------------------------------------------------


class Unauthorized(Refusal):
    """Credentials are missing or malformed: send `Authorization: Bearer <key>`."""

    code = "UNAUTHORIZED"
    status = 401
    remedy = "Send an API key as `Authorization: Bearer …` or `x-api-key`."


class InvalidApiKey(Refusal):
    """This API key or token is unknown, expired or revoked."""

    code = "INVALID_API_KEY"
    status = 401
    remedy = "Create a new key; the old one cannot be used again."


class InsufficientScope(Refusal):
    """The key lacks a scope that this route needs."""

    code = "INSUFFICIENT_SCOPE"
    status = 403
    remedy = "Use a key that has the scope in `details.required_scope`."
    facts = {
        "required_scope": "the scope that is missing",
        "current_scopes": "the scopes that the credential has",
        "userId": "the user whom a key bound to another one named",
    }


# -- what was sent --------------------------------------------------------------------------------------------


class ValidationFailed(Refusal):
    """The request is not valid; `details.fields` names each fault."""

    code = "VALIDATION_ERROR"
    status = 400
    remedy = "Correct the fields named in `details.fields`."
    facts = {
        "fields": "each fault with its place: `{field, message}`",
        "validationErrors": "each fault as a sentence",
        "header": "the header that is not valid",
    }


def invalid_field(field: str, message: str) -> ValidationFailed:
    """The refusal of one field, in both detail arrays that clients read (contract 1.10)."""
    return ValidationFailed(message, fields=[{"field": field, "message": message}], validationErrors=[message])


class InvalidAmountFormat(Refusal):
    """The amount must be a string with exactly two decimals and greater than zero, such as "12.50"."""

    code = "INVALID_AMOUNT_FORMAT"
    status = 400
    remedy = 'Send a string such as "12.50": digits, a point, two decimals, no sign.'
    facts = {"provided": "what was sent", "expectedFormat": "what is expected"}


class InvalidAmount(Refusal):
    """The amounts do not fit together."""

    code = "INVALID_AMOUNT"
    status = 400
    remedy = "Make the parts add up to the whole."
    facts = {
        "field": "the amount that is wrong",
        "provided": "what was sent",
        "expectedFormat": "what is expected",
        "sum": "what the milestones that name an amount add up to",
    }


class InvalidSplit(InvalidAmount):
    """Release and refund amounts must add up to the order's amount."""

    status = 422
    facts = {
        "orderAmount": "what the parts must add up to",
        "releaseAmount": "the seller's part",
        "refundAmount": "the buyer's part",
        "provided": "what was sent instead of an amount",
    }


class InvalidCurrency(Refusal):
    """The currency is not supported: use USD."""

    code = "INVALID_CURRENCY"
    status = 400
    remedy = "Use USD (USDC is accepted as another name for it)."
    facts = {"provided": "what was sent", "supported": "what is known"}


class InvalidRequest(Refusal):
    """The request contradicts itself."""

    code = "INVALID_REQUEST"
    status = 400
    remedy = "Buyer and seller must be two different users."
    facts = {"userId": "the user who is named twice"}


class PayloadTooLarge(Refusal):
    """The request body is larger than the limit."""

    code = "PAYLOAD_TOO_LARGE"
    status = 413
    remedy = "Send at most the number of bytes in `details.limit`."
    facts = {"limit": "the most bytes that a body may have"}


class NotFound(Refusal):
    """There is no such resource."""

    code = "NOT_FOUND"
    status = 404
    remedy = "Check the path and the id; ids of another marketplace are not visible."
    facts = {"idempotency_key": "the key that nothing is kept of"}


class MethodNotAllowed(Refusal):
    """This path does not take that method."""

    code = "METHOD_NOT_ALLOWED"
    status = 405
    remedy = "Use a method of the `Allow` header."
    facts = {"allow": "the methods of this path"}


class UnsupportedMediaType(Refusal):
    """The body must be JSON."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415
    remedy = "Send `Content-Type: application/json`."
    facts = {"contentType": "what was sent"}


class IdempotencyKeyReused(Refusal):
    """This idempotency key was used for a different request."""

    code = "IDEMPOTENCY_KEY_REUSED"
    status = 409
    remedy = "Use a new key for a new request; repeat the same request to get its stored answer."
    facts = {"idempotency_key": "the key"}


class IdempotencyKeyInProgress(Refusal):
    """The first request with this idempotency key is still being worked on."""

    code = "IDEMPOTENCY_KEY_IN_PROGRESS"
    status = 409
    remedy = "Wait a second and repeat the same request."
    retry_after_seconds = 1
    facts = {"idempotency_key": "the key"}


class AnswerUnreadable(Refusal):
    """This request was carried out before, but its answer was kept under a key that has been removed since."""

    code = "IDEMPOTENCY_ANSWER_UNREADABLE"
    status = 410
    facts = {"idempotency_key": "the key", "version": "the version of the key that sealed the answer"}
    remedy = "Nothing was done again. Look at what the first request made; use a new key for a new request."


class RateLimited(Refusal):
    """Too many requests."""

    code = "RATE_LIMITED"
    status = 429
    remedy = "Wait for the seconds in `Retry-After`."
    facts = {
        "limit": "requests in a window",
        "windowSeconds": "the length of the window",
        "window": "the same as text",
        "retryAfter": "seconds to wait",
        "retry_after": "the same",
    }


class TooManyStreams(Refusal):
    """This key, or this process, has as many open event streams as it may."""

    code = "TOO_MANY_STREAMS"
    status = 429
    remedy = "Close streams that nobody reads, or share one among several readers; one stream carries everything."
    retry_after_seconds = 5
    facts = {"limit": "how many may be open", "of": "`key` or `process`: whose limit it is"}


class MaintenanceMode(Refusal):
    """The service is read-only for maintenance."""

    code = "MAINTENANCE_MODE"
    status = 503
    remedy = "Reads still work; repeat the request later."
    retry_after_seconds = 5
    facts = {"message": "the operator's words", "enabledAt": "since when"}


class ServiceUnavailable(Refusal):
    """The service cannot reach its database just now."""

    code = "SERVICE_UNAVAILABLE"
    status = 503
    remedy = "Repeat the same request with the same Idempotency-Key in a moment."
    retry_after_seconds = 1


class NotReady(ServiceUnavailable):
    """This process cannot take requests just now: its database, or the schema in it, is of no use."""

    code = "NOT_READY"
    remedy = "Send requests to another process; `details.dependencies` says what this one is short of."
    facts = {"dependencies": "by name, as `GET /health/detailed` shows them"}


# -- users, wallets, balances ---------------------------------------------------------------------------------


class UserNotFound(NotFound):
    """There is no such user."""

    code = "USER_NOT_FOUND"
    facts = {"userId": "the id"}


class UserNotActive(Refusal):
    """The user is not active and cannot move money."""

    code = "USER_NOT_ACTIVE"
    status = 422
    remedy = "Reactivate the user first."
    facts = {"userId": "the user", "status": "the user's state"}


class MarketplaceNotFound(NotFound):
    """There is no such marketplace."""

    code = "MARKETPLACE_NOT_FOUND"
    facts = {"marketplaceId": "the id"}


class ApiKeyNotFound(NotFound):
    """There is no such API key."""

    code = "API_KEY_NOT_FOUND"
    facts = {"apiKeyId": "the id"}


class WalletNotFound(NotFound):
    """The user has no active wallet."""

    code = "WALLET_NOT_FOUND"
    facts = {"userId": "the user"}


class WalletNotReady(Refusal):
    """The user's wallet is still being set up on the chain."""

    code = "WALLET_NOT_READY"
    status = 422
    remedy = "Wait until the wallet's status is READY, then use a new Idempotency-Key."
    facts = {"userId": "the user", "publicKey": "the address of the wallet"}


class BalanceNotFound(NotFound):
    """The user has no balance."""

    code = "BALANCE_NOT_FOUND"


class InsufficientFunds(Refusal):
    """The available balance does not cover this amount."""

    code = "INSUFFICIENT_FUNDS"
    status = 422
    remedy = "Deposit first, or use a smaller amount."
    facts = {"requested": "the amount of the request", "available": "what there is", "currency": "of both"}


class WalletShortfall(InsufficientFunds):
    """The wallet holds less on the chain than the books promise: part of the balance is a manual credit."""

    remedy = "Send USDC to the wallet's deposit address to back the manual credit, then repeat the request."
    facts = {
        "requested": "the amount of the request",
        "available": "what the wallet holds on the chain",
        "shortfall": "what is missing there",
        "address": "where to send it",
        "currency": "of the amounts",
    }


class TreasuryShort(InsufficientFunds):
    """The treasury, which pays while the money is at Airtm, holds too little."""

    remedy = "Whoever runs this service sends USDC to the treasury's address; then repeat the request."
    facts = {
        "requested": "the amount of the request",
        "available": "what the treasury holds on the chain",
        "shortfall": "what is missing there",
        "address": "the treasury's address",
        "currency": "of the amounts",
        "capital": "what the operator has put in and not taken out",
    }


class ReserveNotFound(Refusal):
    """Less than this amount is reserved under this reference."""

    code = "RESERVE_NOT_FOUND"
    status = 422
    remedy = "Use the reference and at most the amount of the reservation."
    facts = {
        "requested": "the amount of the request",
        "reserved": "what is held under the reference",
        "currency": "of both",
    }


class ReserveMismatchAmount(Refusal):
    """The amount differs from the order's amount."""

    code = "RESERVE_MISMATCH_AMOUNT"
    status = 422
    remedy = "Leave the amount out: the order knows it."
    facts = {"provided": "what was sent", "expected": "the order's amount"}


class BalanceDiscrepancy(Refusal):
    """The books and the chain differ by more than 1.00."""

    code = "BALANCE_DISCREPANCY"
    status = 409
    remedy = "Reconcile before moving this user's money; a manual credit without a deposit is the usual cause."
    facts = {
        "userId": "the user",
        "localBalance": "what the books say",
        "providerBalance": "what the chain says",
        "difference": "what the chain has more",
        "currency": "of the amounts",
    }


class BalanceConcurrencyConflict(Refusal):
    """Too many changes of this balance at the same moment."""

    code = "BALANCE_CONCURRENCY_CONFLICT"
    status = 409
    facts = {"userId": "whose balance", "operation": "what was asked for", "suggestion": "what to do"}
    remedy = "Repeat the request with the same Idempotency-Key: nothing was changed."
    retry_after_seconds = 1


# -- orders, escrows, disputes ---------------------------------------------------------------------------------


class OrderNotFound(NotFound):
    """There is no such order."""

    code = "ORDER_NOT_FOUND"
    facts = {"orderId": "the id"}


class OrderRefReused(Refusal):
    """This client_order_ref belongs to an order with other terms."""

    code = "ORDER_REF_REUSED"
    status = 409
    remedy = "Use a new client_order_ref for a new order."
    facts = {"client_order_ref": "your reference", "orderId": "the order that has it"}


class MilestoneNotFound(NotFound):
    """The order has no such milestone."""

    code = "MILESTONE_NOT_FOUND"
    facts = {"orderId": "the order", "milestoneRef": "the reference that it does not have"}


class InvalidState(Refusal):
    """The resource is not in a state that allows this."""

    code = "INVALID_STATE"
    status = 409
    remedy = "Read the resource; `details.allowedStates` names the states that allow this."
    facts = {
        **_STATE,
        "currentStatus": "the same as `currentState` (top-ups, withdrawals)",
        "allowedStatuses": "the same as `allowedStates` (top-ups)",
        "orderId": "the order",
        "disputeId": "the dispute",
        "topupId": "the top-up",
        "withdrawalId": "the withdrawal",
        "milestoneRef": "the milestone",
        "openMilestones": "the milestones that are not completed yet",
        "payingMilestones": "the milestones that are being paid out just now",
        "escrowType": "the order's type of escrow, which has no such operation",
        "reference": "your reference, which is booked already",
        "provider": "who says so, if it is not us",
        "status": "its own word for the state",
    }


class FundsAlreadyReserved(InvalidState):
    """The order's funds are reserved already."""

    code = "FUNDS_ALREADY_RESERVED"
    facts = {**_STATE, "orderId": "the order"}


class EscrowAlreadyExists(Refusal):
    """The order has an escrow already."""

    code = "ESCROW_ALREADY_EXISTS"
    status = 409
    remedy = "Read the order; its escrow is in the answer."
    facts = {"orderId": "the order", "currentState": "the order's state"}


class EscrowNotReady(InvalidState):
    """The escrow is not in a state that allows this."""

    code = "ESCROW_NOT_READY"
    facts = {**_STATE, "orderId": "the order"}


class EscrowNotFound(NotFound):
    """The order has no escrow."""

    code = "ESCROW_NOT_FOUND"


class EscrowFundingFailed(Refusal):
    """The chain refused to fund the escrow; the reservation is as it was."""

    code = "ESCROW_FUNDING_FAILED"
    status = 422
    remedy = "Read `details`; repeat the call once the cause is mended."
    facts = {**_OF_PROVIDER, **_OF_TRANSACTION}


class EscrowInvalidState(InvalidState):
    """The contract on the chain is not in a state that allows this."""

    code = "ESCROW_INVALID_STATE"
    facts = {"escrowId": "the escrow", "allowedStates": _STATE["allowedStates"]}


class DisputeNotFound(NotFound):
    """There is no such dispute."""

    code = "DISPUTE_NOT_FOUND"
    facts = {"disputeId": "the id"}


class DisputeAlreadyOpen(Refusal):
    """The order has a dispute already."""

    code = "DISPUTE_ALREADY_OPEN"
    status = 409
    remedy = "Assign and resolve the dispute in `details.disputeId`."
    facts = {"orderId": "the order", "disputeId": "the dispute that it has", "status": "its state"}


# -- top-ups, withdrawals, Airtm -----------------------------------------------------------------------------


class TopUpNotFound(NotFound):
    """No top-up has this id."""

    code = "TOPUP_NOT_FOUND"
    facts = {"topupId": "the id"}


class WithdrawalNotFound(NotFound):
    """There is no such withdrawal."""

    code = "WITHDRAWAL_NOT_FOUND"
    facts = {"withdrawalId": "the id"}


class WithdrawalNotCommittable(Refusal):
    """Only a withdrawal in WITHDRAWAL_CREATED can be committed."""

    code = "WITHDRAWAL_NOT_COMMITTABLE"
    status = 409
    remedy = "Read the withdrawal; it has moved on."
    facts = {"withdrawalId": "the withdrawal", "currentStatus": "the state that it is in"}


class WithdrawalDestinationInvalid(Refusal):
    """The destination cannot receive this withdrawal."""

    code = "WITHDRAWAL_DESTINATION_INVALID"
    status = 422
    remedy = "The destination must be an existing Stellar account that trusts USDC."
    facts = {"destination": "the address", **_OF_TRANSACTION}


class AirtmUserNotLinked(Refusal):
    """The user has no Airtm account linked."""

    code = "AIRTM_USER_NOT_LINKED"
    status = 422
    remedy = "Link one with POST /users/{id}/airtm/link, then try again."
    facts = {"userId": "the user"}


class AirtmUserInvalid(Refusal):
    """Airtm does not let this account pay or be paid."""

    code = "AIRTM_USER_INVALID"
    status = 422
    remedy = "See `details.failureReason`: the account must exist, be active and be verified at Airtm."
    facts = {"failureReason": "why, in one word such as `USER_NOT_VERIFIED`", **_OF_PROVIDER}


class AirtmUserAlreadyLinked(Refusal):
    """This Airtm account is linked to another user."""

    code = "AIRTM_USER_ALREADY_LINKED"
    status = 409
    remedy = "One Airtm account belongs to one user: link another account."


class ProviderNotEnabled(Refusal):
    """This needs a payment provider that is not configured here."""

    code = "PROVIDER_NOT_ENABLED"
    status = 422
    remedy = "Use a crypto destination, or run with PAYMENT_PROVIDER=airtm."
    facts = {"provider": "what is not configured", "destinationType": "the kind of destination that needs it"}


class WebhookEndpointNotFound(NotFound):
    """The webhook endpoint does not exist."""

    code = "WEBHOOK_ENDPOINT_NOT_FOUND"
    facts = {"endpointId": "the id that was asked for"}


class WebhookDeliveryNotFound(NotFound):
    """The webhook endpoint has no such delivery."""

    code = "WEBHOOK_DELIVERY_NOT_FOUND"
    facts = {"deliveryId": "the id that was asked for"}


class WebhookUrlForbidden(Refusal):
    """Webhooks cannot be sent to this address."""

    code = "WEBHOOK_URL_FORBIDDEN"
    status = 400
    remedy = "Give an https URL on the public Internet, without user and password, at port 443 or from 1024 on."
    facts = {"url": "the address", "reason": "what is wrong with it"}


class WebhookEndpointLimit(Refusal):
    """The marketplace has as many webhook endpoints as it may have."""

    code = "WEBHOOK_ENDPOINT_LIMIT"
    status = 409
    remedy = "Delete an endpoint that is not needed any more."
    facts = {"limit": "how many there may be"}


class WebhookSignatureInvalid(Refusal):
    """The signature does not fit the message, or it is too old, or there is no secret to verify it with."""

    code = "WEBHOOK_SIGNATURE_INVALID"
    status = 401
    remedy = "Sign the bytes of the body with the secret that this service knows, and send the time of this attempt."
    facts = {"provider": "who seems to have sent it", "svixId": "the message's id (Airtm)"}


# -- providers ---------------------------------------------------------------------------------------------------


class ProviderError(Refusal):
    """A provider refused or garbled the call."""

    code = "PROVIDER_ERROR"
    status = 502
    remedy = "Read `details`; repeat later with the same Idempotency-Key."
    facts = {
        **_OF_PROVIDER,
        **_OF_TRANSACTION,
        "message": "Trustless Work's own words",
        "contract_error": "the number of the contract's error",
        "contract_error_name": "its name",
        "reason": "what was not understood",
        "contract": "the contract's address",
        "contractState": "what the contract knew when it refused: disputed, released, resolved, milestones",
        "topUp": "the USDC that must be sent to the contract before it can share its balance out",
    }


class PayoutNotReady(ProviderError):
    """Airtm has not told of this withdrawal's payout yet."""

    status = 422
    remedy = "Read the withdrawal; go on once it has an `airtmPayoutId`."
    retry_after_seconds = 5
    facts = {"withdrawalId": "the withdrawal"}


class ProviderTimeout(Refusal):
    """A provider did not answer in time."""

    code = "PROVIDER_TIMEOUT"
    status = 504
    remedy = "Repeat later with the same Idempotency-Key; nothing is done twice."
    facts = {**_OF_PROVIDER, "topupId": "the top-up"}


class ProviderRateLimited(Refusal):
    """A provider limits our calls."""

    code = "PROVIDER_RATE_LIMITED"
    status = 502
    remedy = "Repeat later with the same Idempotency-Key."
    facts = {**_OF_PROVIDER, "retry_after": "seconds that the provider asks us to wait"}


class ProviderUnavailable(Refusal):
    """A provider is unavailable."""

    code = "PROVIDER_UNAVAILABLE"
    status = 503
    remedy = "Repeat later with the same Idempotency-Key."
    retry_after_seconds = 5
    facts = {
        **_OF_PROVIDER,
        "heldBack": "why we did not ask at all: `breaker_open`, `no_place`, `budget_spent` or `asked_to_wait`",
    }


class StellarNetworkError(Refusal):
    """The Stellar network could not be read or did not take the transaction."""

    code = "STELLAR_NETWORK_ERROR"
    status = 502
    remedy = "Read `details`; repeat later with the same Idempotency-Key."
    facts = {
        **_OF_TRANSACTION,
        "call": "what we asked Horizon for",
        "status": "the HTTP status of its answer",
        "reason": "why it could not be read",
        "answer": "its own words",
        "rpcCode": "the error code of an RPC node's answer",
        "needed": "the XLM that the platform's account needs for it",
        "spendable": "the XLM that it has beyond its reserve",
        "heldBack": "why we did not ask at all: `breaker_open`, `no_place`, `budget_spent` or `asked_to_wait`",
        "account": "the account that it is about",
    }


class SigningRefused(ProviderError):
    """A provider handed us a transaction that is not the one we asked for; it was not signed."""

    remedy = "Nothing moved. Treat this as an incident: the provider or the path to it may be compromised."
    facts = {"field": "what differs", "expected": "what we had asked for", "found": "what we were given"}
