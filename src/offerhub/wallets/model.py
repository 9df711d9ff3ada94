"""What a wallet is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Purpose = Literal["user", "platform", "resolver"]


@dataclass(frozen=True, slots=True)
class Wallet:
    """A Stellar account whose key we hold; `user_id` is None for the system's own."""

    id: str
    marketplace_id: str
    user_id: str | None
    purpose: Purpose
    public_key: str
    status: Literal["PENDING", "READY"]
    type: Literal["INVISIBLE", "EXTERNAL"]
    created_at: datetime
