"""What the Connect face holds: wallets of Airtm's users, their consents, quotes and transactions (providers.md 2.4).

Amounts are units of 10^-7, always whole cents; times are Unix seconds of the sandbox's clock. What belongs to a
network that was reset since has another `epoch`, and counts no more.
"""

from dataclasses import dataclass
from typing import Final, Literal

Asked = Literal["send", "receive"]
KycStatus = Literal["verified", "in_progress", "pending_review", "unverified"]
Status = Literal["created", "pending_user_confirmation", "pending_settlement", "completed", "failed"]
WalletScope = Literal["wallet:send", "wallet:receive"]
StrayReason = Literal["unknown_memo", "expired", "wrong_amount", "already_paid", "failed"]

SCOPES: Final = (
    "openid",
    "profile",
    "email",
    "offline_access",
    "wallet:receive",
    "wallet:send",
    "wallet:read",
    "kyc:status",
)
CODE_SECONDS: Final = 600
ACCESS_SECONDS: Final = 3_600
REFRESH_SECONDS: Final = 30 * 86_400
QUOTE_SECONDS: Final = 3_600
CONFIRM_SECONDS: Final = 3_600
"""How long a send waits for its code and a receive for its payment: then it has failed. Airtm publishes neither."""
RESEND_SECONDS: Final = 60
"""How soon another code may be asked for."""
MEMO_BYTES_MAX: Final = 28
REFERENCE_MAX: Final = 16
AMOUNT_MIN: Final = 100_000
AMOUNT_MAX: Final = 10_000 * 10_000_000
"""What one transaction may move: 0.01 to 10,000.00 USDC. Airtm names limits in `GET /balance`, but not how high."""


class ConnectRefused(Exception):
    """Connect says no. `code` is one of Airtm's and `error` a word of OAuth; a conflict has neither."""

    def __init__(self, status: int, message: str, *, code: str | None = None, error: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.error = error


@dataclass(slots=True)
class Client:
    """The enterprise as a client of OAuth, and where it may send a user's browser back to."""

    id: str
    redirect_uris: list[str]


@dataclass(slots=True)
class Grant:
    """What a user has allowed; revoking it ends every token that came of it."""

    id: str
    email: str
    scopes: list[str]
    created_at: int
    revoked: bool = False


@dataclass(slots=True)
class Code:
    """An authorization code; `id` is the code itself, good for one exchange."""

    id: str
    grant: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    expires_at: int
    used: bool = False


@dataclass(slots=True)
class Token:
    """An access or refresh token; `id` is the token itself. A refresh token is good for one use."""

    id: str
    grant: str
    kind: Literal["access", "refresh"]
    scopes: list[str]
    expires_at: int
    used: bool = False


@dataclass(slots=True)
class Wallet:
    """What is known of a user beside the address; `id` is the e-mail address in lower case."""

    id: str
    kyc: KycStatus
    kyc_at: int


@dataclass(slots=True)
class Gift:
    """USDC that a control gives to a user; `id` is the memo of the payment that brings it, `operation` is that."""

    id: str
    email: str
    amount: int
    epoch: int
    operation: int | None = None


@dataclass(slots=True)
class Quote:
    """A price. `asked` says which of the two amounts was given."""

    id: str
    email: str
    scope: WalletScope
    asked: Asked
    amount_to_send: int
    amount_to_receive: int
    fee: int
    partner_fee: int
    created_at: int

    @property
    def expires_at(self) -> int:
        """From then on no transaction can be made of it."""
        return self.created_at + QUOTE_SECONDS


@dataclass(slots=True)
class Transfer:
    """A transaction of Connect.

    `memo` is what the payment on Stellar carries: for a send as the partner wished, for a receive as Airtm wants it.
    `two_factor` is the code that the user would get, `envelope` and `hash` the payment of a send, kept before it is
    offered to the network, `operation` the payment that completed a receive, `key` and `digest` the idempotency key
    and what was asked for under it.
    """

    id: str
    email: str
    scope: WalletScope
    quote: str
    partner_reference: str | None
    amount_to_send: int
    amount_to_receive: int
    fee: int
    partner_fee: int
    address: str
    memo: str | None
    status: Status
    created_at: int
    updated_at: int
    epoch: int
    key: str | None
    digest: str
    two_factor: str | None = None
    codes_sent: int = 0
    code_sent_at: int = 0
    envelope: str | None = None
    hash: str | None = None
    operation: int | None = None
    failure_reason: str | None = None

    @property
    def is_send(self) -> bool:
        """Money leaves the user's wallet."""
        return self.scope == "wallet:send"

    @property
    def is_open(self) -> bool:
        """Something may become of it."""
        return self.status not in {"completed", "failed"}

    @property
    def expires_at(self) -> int:
        """From then on no code and no payment is good for it."""
        return self.created_at + CONFIRM_SECONDS

    @property
    def waits(self) -> bool:
        """It fails when it expires, unless somebody does something."""
        return self.status in {"created", "pending_user_confirmation"}


@dataclass(frozen=True, slots=True)
class Stray:
    """USDC that reached Airtm's account and belongs to no open receive: nobody is credited."""

    operation: int
    hash: str
    sender: str
    amount: int
    memo: str | None
    reason: StrayReason
