"""Short-lived tokens: `ohk_tok_` and a JWT (RFC 7519) signed with HS256, the one algorithm that is accepted."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from offerhub.access.model import TOKEN_PREFIX
from offerhub.kernel.ids import new_uuid

SECRET_BYTES_MIN: Final = 32
TOKEN_CHARACTERS_MAX: Final = 8192
_HEADER: Final = {"alg": "HS256", "typ": "JWT"}


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says. `sub` is the id of the API key it stands for; times are epoch seconds."""

    sub: str
    scopes: list[str]
    type: str
    iat: int
    exp: int
    jti: str


_claims = msgspec.json.Decoder(Claims)


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """Signs and verifies tokens. Raises ValueError for a secret of fewer than 32 bytes."""

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) < SECRET_BYTES_MIN:
            raise ValueError(f"the token secret needs at least {SECRET_BYTES_MIN} bytes")

    def sign(self, key_id: str, scopes: list[str], *, now: datetime, expires_at: datetime) -> str:
        """A token for this key and these scopes."""
        claims = Claims(
            sub=key_id,
            scopes=scopes,
            type="short-lived",
            iat=int(now.timestamp()),
            exp=int(expires_at.timestamp()),
            jti=new_uuid(),
        )
        signed = f"{_part(_HEADER)}.{_part(claims)}"
        return f"{TOKEN_PREFIX}{signed}.{_text(self._signature(signed))}"

    def verify(self, token: str, *, now: datetime) -> Claims | None:
        """What a valid token says; None for one that is forged, damaged or expired."""
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            return None
        signed, _, signature = token.removeprefix(TOKEN_PREFIX).rpartition(".")
        # Ours has exactly this header: a token that names another algorithm is not looked at.
        if not hmac.compare_digest(signature, _text(self._signature(signed))) or signed.count(".") != 1:
            return None
        header, payload = signed.split(".")
        try:
            claims = _claims.decode(_bytes(payload))
        except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError):
            return None
        is_ours = header == _part(_HEADER) and claims.type == "short-lived"
        return claims if is_ours and now.timestamp() < claims.exp else None

    def _signature(self, signed: str) -> bytes:
        return hmac.digest(self.secret, signed.encode("ascii"), hashlib.sha256)


def _part(value: Any) -> str:
    return _text(msgspec.json.encode(value))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
