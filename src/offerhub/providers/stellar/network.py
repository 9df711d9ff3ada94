"""Which Stellar network we are on, and what an asset is there (providers.md 6.1)."""

import hashlib
from dataclasses import dataclass
from typing import Final

from offerhub.providers.stellar.keys import decode_key, encode_key

PUBLIC_PASSPHRASE: Final = "Public Global Stellar Network ; September 2015"
TESTNET_PASSPHRASE: Final = "Test SDF Network ; September 2015"

_ENVELOPE_TYPE_CONTRACT_ID: Final = 8
_PREIMAGE_FROM_ASSET: Final = 1


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset is its code and its issuer, never the code alone. XLM has no issuer."""

    code: str
    issuer: str | None

    def __str__(self) -> str:
        return self.code if self.issuer is None else f"{self.code}:{self.issuer}"


XLM: Final = Asset("XLM", None)


@dataclass(frozen=True, slots=True)
class Network:
    """One network, as configured. `friendbot_url` is None where nobody hands out XLM."""

    passphrase: str
    horizon_url: str
    usdc_issuer: str
    usdc_code: str = "USDC"
    friendbot_url: str | None = None

    @property
    def usdc(self) -> Asset:
        """The asset that the books count."""
        return Asset(self.usdc_code, self.usdc_issuer)

    @property
    def usdc_contract(self) -> str:
        """The token contract `C…` of USDC on this network."""
        return token_contract(self.usdc, self.passphrase)


def network_id(passphrase: str) -> bytes:
    """The 32 bytes that stand for a network in everything that is hashed."""
    return hashlib.sha256(passphrase.encode()).digest()


def token_contract(asset: Asset, passphrase: str) -> str:
    """The address of the contract through which an asset is moved by other contracts.

    It is the hash of the XDR {CONTRACT_ID, network, FROM_ASSET, asset} (providers.md 6.1), written out here
    so that it can be known without loading stellar-sdk.
    """
    preimage = (
        _ENVELOPE_TYPE_CONTRACT_ID.to_bytes(4, "big")
        + network_id(passphrase)
        + _PREIMAGE_FROM_ASSET.to_bytes(4, "big")
        + _asset_xdr(asset)
    )
    return encode_key("C", hashlib.sha256(preimage).digest())


def _asset_xdr(asset: Asset) -> bytes:
    if asset.issuer is None:
        return bytes(4)
    # ALPHANUM4 is 1 and ALPHANUM12 is 2; the issuer is a key of type ed25519, which is 0.
    kind, width = (1, 4) if len(asset.code) <= 4 else (2, 12)
    _, issuer = decode_key(asset.issuer)
    return kind.to_bytes(4, "big") + asset.code.encode("ascii").ljust(width, b"\0") + bytes(4) + issuer
