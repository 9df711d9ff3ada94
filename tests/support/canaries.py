"""Secrets that are recognised wherever they come out, in whatever spelling (reliability I17)."""

import base64
import secrets
from collections.abc import Iterable
from urllib.parse import quote

PART_BYTES = 12
"""A shorter piece of base64 may stand somewhere by chance."""


def canary(name: str) -> str:
    """A secret that nothing else looks like, for a setting or a header of this name."""
    return f"canary-{name.lower().replace('_', '-')}-{secrets.token_hex(12)}"


def spellings(secret: str | bytes) -> set[bytes]:
    """The secret as it may be written: as it is, URL-encoded, hexadecimal, and in base64 at any place in a text."""
    raw = secret.encode() if isinstance(secret, str) else secret
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), quote(raw, safe="").encode()}
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * offset + raw).rstrip(b"=")
            # The first characters mix with what stands before, the last ones with what follows.
            part = text[-(-offset * 4 // 3) : len(text) - 1]
            if len(part) >= PART_BYTES:
                found.add(part)
    return found


class Canaries:
    """Secrets by name, and what is searched for them."""

    def __init__(self) -> None:
        self._spellings: dict[str, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._spellings)

    def add(self, name: str, secret: str | bytes) -> None:
        """Look for this one, too."""
        assert len(secret) >= PART_BYTES, name
        self._spellings[name] = spellings(secret)

    def within(self, place: bytes) -> list[str]:
        """The names of the secrets that stand there."""
        return [name for name, forms in self._spellings.items() if any(form in place for form in forms)]

    def found_in(self, places: Iterable[tuple[str, bytes]]) -> list[str]:
        """`secret in place`, for each that is found."""
        return [f"{name} in {where}" for where, place in places for name in self.within(place)]
