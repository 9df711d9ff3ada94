"""The error catalogue: every code that a client can meet, with its HTTP status (contract 3).

A refusal is raised where the fact is known and becomes `{"error": {"code", "message", "details"}}` at the edge.
The docstring of a class is its message unless the raiser says something more precise; a `remedy` tells an
integrator what to do. Nothing else in the product invents a code.
"""

from typing import Any, ClassVar


class Refusal(Exception):
    """The request was refused."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    remedy: ClassVar[str] = ""
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


# -- what was sent --------------------------------------------------------------------------------------------


class ValidationFailed(Refusal):
    """The request is not valid; `details.fields` names each fault."""

    code = "VALIDATION_ERROR"
    status = 400
    remedy = "Correct the fields named in `details.fields`."


def invalid_field(field: str, message: str) -> ValidationFailed:
    """The refusal of one field, in both detail arrays that clients read (contract 1.10)."""
    return ValidationFailed(message, fields=[{"field": field, "message": message}], validationErrors=[message])


class InvalidAmountFormat(Refusal):
    """The amount must be a string with exactly two decimals and greater than zero, such as "12.50"."""

    code = "INVALID_AMOUNT_FORMAT"
    status = 400
    remedy = 'Send a string such as "12.50": digits, a point, two decimals, no sign.'


class InvalidAmount(Refusal):
    """The amounts do not fit together."""

    code = "INVALID_AMOUNT"
    status = 400
    remedy = "Make the parts add up to the whole."


class InvalidSplit(InvalidAmount):
    """Release and refund amounts must add up to the order's amount."""

    status = 422


class InvalidCurrency(Refusal):
    """The currency is not supported: use USD."""

    code = "INVALID_CURRENCY"
    status = 400
    remedy = "Use USD (USDC is accepted as another name for it)."


class InvalidRequest(Refusal):
    """The request contradicts itself."""

    code = "INVALID_REQUEST"
    status = 400
    remedy = "Buyer and seller must be two different users."


class PayloadTooLarge(Refusal):
    """The request body is larger than the limit."""

    code = "PAYLOAD_TOO_LARGE"
    status = 413
    remedy = "Send at most the number of bytes in `details.limit`."


class NotFound(Refusal):
    """There is no such resource."""

    code = "NOT_FOUND"
    status = 404
    remedy = "Check the path and the id; ids of another marketplace are not visible."


class MethodNotAllowed(Refusal):
    """This path does not take that method."""

    code = "METHOD_NOT_ALLOWED"
    status = 405
    remedy = "Use a method of the `Allow` header."


class UnsupportedMediaType(Refusal):
    """The body must be JSON."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415
    remedy = "Send `Content-Type: application/json`."


class IdempotencyKeyReused(Refusal):
    """This idempotency key was used for a different request."""

    code = "IDEMPOTENCY_KEY_REUSED"
    status = 409
    remedy = "Use a new key for a new request; repeat the same request to get its stored answer."


class IdempotencyKeyInProgress(Refusal):
    """The first request with this idempotency key is still being worked on."""

    code = "IDEMPOTENCY_KEY_IN_PROGRESS"
    status = 409
    remedy = "Wait a second and repeat the same request."
    retry_after_seconds = 1


class AnswerUnreadable(Refusal):
    """This request was carried out before, but its answer was kept under a key that has been removed since."""

    code = "IDEMPOTENCY_ANSWER_UNREADABLE"
    status = 410
    remedy = "Nothing was done again. Look at what the first request made; use a new key for a new request."


class RateLimited(Refusal):
    """Too many requests."""

    code = "RATE_LIMITED"
    status = 429
    remedy = "Wait for the seconds in `Retry-After`."


class MaintenanceMode(Refusal):
    """The service is read-only for maintenance."""

    code = "MAINTENANCE_MODE"
    status = 503
    remedy = "Reads still work; repeat the request later."
    retry_after_seconds = 5


class ServiceUnavailable(Refusal):
    """The service cannot reach its database just now."""

    code = "SERVICE_UNAVAILABLE"
    status = 503
    remedy = "Repeat the same request with the same Idempotency-Key in a moment."
    retry_after_seconds = 1


# -- users, wallets, balances ---------------------------------------------------------------------------------


class UserNotFound(NotFound):
    """There is no such user."""

    code = "USER_NOT_FOUND"


class UserNotActive(Refusal):
    """The user is not active and cannot move money."""

    code = "USER_NOT_ACTIVE"
    status = 422
    remedy = "Reactivate the user first."


class MarketplaceNotFound(NotFound):
    """There is no such marketplace."""

    code = "MARKETPLACE_NOT_FOUND"


class ApiKeyNotFound(NotFound):
    """There is no such API key."""

    code = "API_KEY_NOT_FOUND"


class WalletNotFound(NotFound):
    """The user has no active wallet."""

    code = "WALLET_NOT_FOUND"


class WalletNotReady(Refusal):
    """The user's wallet is still being set up on the chain."""

    code = "WALLET_NOT_READY"
    status = 422
    remedy = "Wait until the wallet's status is READY; the deposit address is valid already."


class BalanceNotFound(NotFound):
    """The user has no balance."""

    code = "BALANCE_NOT_FOUND"


class InsufficientFunds(Refusal):
    """The available balance does not cover this amount."""

    code = "INSUFFICIENT_FUNDS"
    status = 422
    remedy = "Deposit first, or use a smaller amount."


class WalletShortfall(InsufficientFunds):
    """The wallet holds less on the chain than the books promise: part of the balance is a manual credit."""

    remedy = "Send USDC to the wallet's deposit address to back the manual credit, then repeat the request."


class TreasuryShort(InsufficientFunds):
    """The treasury, which pays while the money is at Airtm, holds too little."""

    remedy = "Whoever runs this service sends USDC to the treasury's address; then repeat the request."


class ReserveNotFound(Refusal):
    """Less than this amount is reserved under this reference."""

    code = "RESERVE_NOT_FOUND"
    status = 422
    remedy = "Use the reference and at most the amount of the reservation."


class ReserveMismatchAmount(Refusal):
    """The amount differs from the order's amount."""

    code = "RESERVE_MISMATCH_AMOUNT"
    status = 422
    remedy = "Leave the amount out: the order knows it."


class BalanceDiscrepancy(Refusal):
    """The books and the chain differ by more than 1.00."""

    code = "BALANCE_DISCREPANCY"
    status = 409
    remedy = "Reconcile before moving this user's money; a manual credit without a deposit is the usual cause."


class BalanceConcurrencyConflict(Refusal):
    """Too many changes of this balance at the same moment."""

    code = "BALANCE_CONCURRENCY_CONFLICT"
    status = 409
    remedy = "Repeat the request with the same Idempotency-Key: nothing was changed."
    retry_after_seconds = 1


# -- orders, escrows, disputes ---------------------------------------------------------------------------------


class OrderNotFound(NotFound):
    """There is no such order."""

    code = "ORDER_NOT_FOUND"


class OrderRefReused(Refusal):
    """This client_order_ref belongs to an order with other terms."""

    code = "ORDER_REF_REUSED"
    status = 409
    remedy = "Use a new client_order_ref for a new order."


class MilestoneNotFound(NotFound):
    """The order has no such milestone."""

    code = "MILESTONE_NOT_FOUND"


class InvalidState(Refusal):
    """The resource is not in a state that allows this."""

    code = "INVALID_STATE"
    status = 409
    remedy = "Read the resource; `details.allowedStates` names the states that allow this."


class FundsAlreadyReserved(InvalidState):
    """The order's funds are reserved already."""

    code = "FUNDS_ALREADY_RESERVED"


class EscrowAlreadyExists(Refusal):
    """The order has an escrow already."""

    code = "ESCROW_ALREADY_EXISTS"
    status = 409
    remedy = "Read the order; its escrow is in the answer."


class EscrowNotReady(InvalidState):
    """The escrow is not in a state that allows this."""

    code = "ESCROW_NOT_READY"


class EscrowNotFound(NotFound):
    """The order has no escrow."""

    code = "ESCROW_NOT_FOUND"


class EscrowFundingFailed(Refusal):
    """The chain refused to fund the escrow; the reservation is as it was."""

    code = "ESCROW_FUNDING_FAILED"
    status = 422
    remedy = "Read `details`; repeat the call once the cause is mended."


class EscrowInvalidState(InvalidState):
    """The contract on the chain is not in a state that allows this."""

    code = "ESCROW_INVALID_STATE"


class DisputeNotFound(NotFound):
    """There is no such dispute."""

    code = "DISPUTE_NOT_FOUND"


class DisputeAlreadyOpen(Refusal):
    """The order has a dispute already."""

    code = "DISPUTE_ALREADY_OPEN"
    status = 409
    remedy = "Assign and resolve the dispute in `details.disputeId`."


# -- withdrawals -------------------------------------------------------------------------------------------------


class TopUpNotFound(NotFound):
    """No top-up has this id."""

    code = "TOPUP_NOT_FOUND"


class WithdrawalNotFound(NotFound):
    """There is no such withdrawal."""

    code = "WITHDRAWAL_NOT_FOUND"


class WithdrawalNotCommittable(Refusal):
    """Only a withdrawal in WITHDRAWAL_CREATED can be committed."""

    code = "WITHDRAWAL_NOT_COMMITTABLE"
    status = 409
    remedy = "Read the withdrawal; it has moved on."


class WithdrawalDestinationInvalid(Refusal):
    """The destination cannot receive this withdrawal."""

    code = "WITHDRAWAL_DESTINATION_INVALID"
    status = 422
    remedy = "The destination must be an existing Stellar account that trusts USDC."


class AirtmUserNotLinked(Refusal):
    """The user has no Airtm account linked."""

    code = "AIRTM_USER_NOT_LINKED"
    status = 422
    remedy = "Link one with POST /users/{id}/airtm/link, then try again."


class AirtmUserInvalid(Refusal):
    """Airtm does not let this account pay or be paid."""

    code = "AIRTM_USER_INVALID"
    status = 422
    remedy = "See `details.failureReason`: the account must exist, be active and be verified at Airtm."


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


class WebhookSignatureInvalid(Refusal):
    """The signature does not fit the message, or it is too old, or there is no secret to verify it with."""

    code = "WEBHOOK_SIGNATURE_INVALID"
    status = 401
    remedy = "Sign the bytes of the body with the secret that this service knows, and send the time of this attempt."


# -- providers ---------------------------------------------------------------------------------------------------


class ProviderError(Refusal):
    """A provider refused or garbled the call."""

    code = "PROVIDER_ERROR"
    status = 502
    remedy = "Read `details`; repeat later with the same Idempotency-Key."


class PayoutNotReady(ProviderError):
    """Airtm has not told of this withdrawal's payout yet."""

    status = 422
    remedy = "Read the withdrawal; go on once it has an `airtmPayoutId`."
    retry_after_seconds = 5


class ProviderTimeout(Refusal):
    """A provider did not answer in time."""

    code = "PROVIDER_TIMEOUT"
    status = 504
    remedy = "Repeat later with the same Idempotency-Key; nothing is done twice."


class ProviderRateLimited(Refusal):
    """A provider limits our calls."""

    code = "PROVIDER_RATE_LIMITED"
    status = 502
    remedy = "Repeat later with the same Idempotency-Key."


class ProviderUnavailable(Refusal):
    """A provider is unavailable."""

    code = "PROVIDER_UNAVAILABLE"
    status = 503
    remedy = "Repeat later with the same Idempotency-Key."
    retry_after_seconds = 5


class StellarNetworkError(Refusal):
    """The Stellar network could not be read or did not take the transaction."""

    code = "STELLAR_NETWORK_ERROR"
    status = 502
    remedy = "Read `details`; repeat later with the same Idempotency-Key."


class SigningRefused(ProviderError):
    """A provider handed us a transaction that is not the one we asked for; it was not signed."""

    remedy = "Nothing moved. Treat this as an incident: the provider or the path to it may be compromised."
