"""What the Airtm face holds: payins, payouts, deposits, and the people that e-mail addresses stand for.

Amounts are whole cents. A tag in an e-mail address, as in `ana+unverified@example.com`, decides what becomes of it.
"""

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Any, Final, Literal

PayinStatus = Literal["CREATED", "PROCESSING", "CONFIRMED", "CANCELED", "FAILED"]
PayinAction = Literal["process", "confirm", "fail", "cancel"]
PayoutAction = Literal["process", "complete", "fail", "cancel", "wait", "pend", "refund", "odd"]

REFUSED_AMOUNT: Final = 77_77
"""A payout of this many cents is refused when it is committed: our balance at Airtm is too low."""
ODD_STATUS: Final = "TELEPORTED"
"""A status that Airtm never documented."""

FATES: Final = frozenset({"fee", "declined", "waiting", "stuck", "refunded", "odd"})
"""Tags of an e-mail address, or of a payin or payout itself, that decide how it ends: Airtm keeps a fee of 1 %, it
fails, waits for its recipient, never settles, is given back after it was completed, gets a status nobody knows."""

PAYIN_MOVES: Final[dict[PayinAction, tuple[PayinStatus, frozenset[str]]]] = {
    "process": ("PROCESSING", frozenset({"CREATED"})),
    "confirm": ("CONFIRMED", frozenset({"CREATED", "PROCESSING"})),
    "fail": ("FAILED", frozenset({"CREATED", "PROCESSING"})),
    "cancel": ("CANCELED", frozenset({"CREATED", "PROCESSING"})),
}
"""What a control does to a payin: where it goes, and from where."""

PAYOUT_WAITING: Final = frozenset({"PENDING", "PENDING_USER_ACTION"})
"""A payout that waits for its recipient, and is cancelled when that takes too long."""
PAYOUT_UNDER_WAY: Final = frozenset({"COMMITTED", "PROCESSING", "PENDING", "PENDING_USER_ACTION", ODD_STATUS})
PAYOUT_MOVES: Final[dict[PayoutAction, tuple[str, frozenset[str]]]] = {
    "process": ("PROCESSING", PAYOUT_UNDER_WAY),
    "wait": ("PENDING_USER_ACTION", PAYOUT_UNDER_WAY),
    "pend": ("PENDING", PAYOUT_UNDER_WAY),
    "odd": (ODD_STATUS, PAYOUT_UNDER_WAY),
    "complete": ("COMPLETED", PAYOUT_UNDER_WAY),
    "fail": ("FAILED", PAYOUT_UNDER_WAY),
    "cancel": ("CANCELED", PAYOUT_UNDER_WAY | {"CREATED"}),
    "refund": ("COMPLETED", frozenset({"COMPLETED"})),
}
"""What a control does to a payout; `refund` gives back what was paid, and the status stays."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an Airtm account, known by an e-mail address."""

    email: str

    @property
    def tags(self) -> frozenset[str]:
        """The words behind `+` in the address."""
        return frozenset(self.email.partition("@")[0].lower().split("+")[1:])

    @property
    def id(self) -> str:
        """Always the same for one address."""
        return str(uuid.UUID(bytes=hashlib.sha256(f"airtm-user:{self.email.lower()}".encode()).digest()[:16]))

    @property
    def is_known(self) -> bool:
        """False for addresses that nobody signed up with."""
        return "unknown" not in self.tags

    @property
    def is_active(self) -> bool:
        """False for accounts that Airtm has closed or suspended."""
        return not self.tags & {"inactive", "banned"}

    def wire(self) -> dict[str, Any]:
        """As `GET /users/{email}` answers."""
        return {
            "id": self.id,
            "status": "active" if self.is_active else "inactive",
            "primaryEmail": True,
            "firstName": self.email.partition("@")[0].partition("+")[0].title(),
            "lastName": "Sandbox",
            "country": "USA" if "us" in self.tags else "MEX",
            "isVerified": "unverified" not in self.tags,
        }


@dataclass(slots=True)
class Payin:
    """Money that a user pays to the enterprise. Times are in Unix seconds."""

    id: str
    code: str
    amount: int
    description: str
    items: list[dict[str, Any]]
    confirmation_uri: str
    cancel_uri: str
    created_at: int
    updated_at: int
    status: PayinStatus = "CREATED"
    fee: int = 0
    payer: str | None = None
    failure_reason: str | None = None
    tags: list[str] = field(default_factory=list)

    @property
    def fate(self) -> frozenset[str]:
        """What is to become of it: the tags of its payer and its own."""
        return Person(self.payer or "").tags | frozenset(self.tags)


@dataclass(slots=True)
class Payout:
    """Money that the enterprise pays to a user. `events` are `[status, Unix seconds]`, oldest first."""

    id: str
    code: str | None
    email: str
    gross: int
    enterprise_fee: int
    fee: int
    notes: str
    internal_note: str | None
    require_id_verified: bool
    created_at: int
    updated_at: int
    status: str = "CREATED"
    reason_code: str | None = None
    reason: str | None = None
    refunded: bool = False
    events: list[list[Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    @property
    def fate(self) -> frozenset[str]:
        """What is to become of it: the tags of its recipient and its own."""
        return Person(self.email).tags | frozenset(self.tags)

    @property
    def amount(self) -> int:
        """What leaves the enterprise's balance."""
        return self.gross - self.enterprise_fee


@dataclass(slots=True)
class Deposit:
    """Money that came to the enterprise's account by another way than a payin."""

    id: str
    type: Literal["funding", "refunded"]
    amount: int
    created_at: int
    refunded_payout_id: str | None = None
