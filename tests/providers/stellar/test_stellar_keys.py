"""Addresses, secrets and token contracts, against published vectors (providers.md 6.1, 6.3, 6.8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Asset as SdkAsset
from stellar_sdk import Keypair, StrKey

from offerhub.providers.stellar.keys import (
    InvalidAddress,
    address_of,
    decode_key,
    encode_key,
    new_keypair,
    parse_destination,
    seed_of,
)
from offerhub.providers.stellar.network import (
    PUBLIC_PASSPHRASE,
    TESTNET_PASSPHRASE,
    XLM,
    Asset,
    Network,
    network_id,
    token_contract,
)

PUBLIC_ISSUER = "GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN"
TESTNET_ISSUER = "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5"
LOCAL_PASSPHRASE = "Standalone Network ; February 2017"

SECRET = b"SAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6NKI"
SOURCE = "GAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QZ6Q"
MUXED_ACCOUNT = "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ"
MUXED = "MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUAAAAAAAAAABUTGI4"
CONTRACT = "CCW67TSZV3SSS2HXMBQ5JFGCKJNXKZM7UQUWUZPUTHXSTZLEO7SJMI75"


def test_network_ids() -> None:
    assert network_id(PUBLIC_PASSPHRASE).hex().startswith("7ac33997544e3175")
    assert network_id(TESTNET_PASSPHRASE).hex().endswith("a37abedf28ecd472")
    assert network_id(LOCAL_PASSPHRASE).hex() == ("baefd734b8d3e48472cff83912375fedbc7573701912fe308af730180f97d74a")


@pytest.mark.parametrize(
    ("asset", "passphrase", "contract"),
    [
        (Asset("USDC", PUBLIC_ISSUER), PUBLIC_PASSPHRASE, CONTRACT),
        (
            Asset("USDC", TESTNET_ISSUER),
            TESTNET_PASSPHRASE,
            "CBIELTK6YBZJU5UP2WWQEUCYKLPU6AUNZ2BQ4WWFEIE3USCIHMXQDAMA",
        ),
        (XLM, PUBLIC_PASSPHRASE, "CAS3J7GYLGXMF6TDJBBYYSE3HQ6BBSMLNUQ34T6TZMYMW2EVH34XOWMA"),
        (XLM, TESTNET_PASSPHRASE, "CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC"),
        (XLM, LOCAL_PASSPHRASE, "CDMLFMKMMD7MWZP3FKUBZPVHTUEDLSX4BYGYKH4GCESXYHS3IHQ4EIG4"),
    ],
)
def test_token_contracts(asset: Asset, passphrase: str, contract: str) -> None:
    assert token_contract(asset, passphrase) == contract


@given(st.from_regex(r"[A-Za-z0-9]{1,12}", fullmatch=True), st.binary(min_size=32, max_size=32))
def test_any_token_contract_is_that_of_the_sdk(code: str, issuer: bytes) -> None:
    asset = Asset(code, encode_key("G", issuer))
    assert asset.issuer is not None
    expected = SdkAsset(asset.code, asset.issuer).contract_id(TESTNET_PASSPHRASE)
    assert token_contract(asset, TESTNET_PASSPHRASE) == expected


def test_a_network_knows_its_usdc() -> None:
    network = Network(PUBLIC_PASSPHRASE, "https://horizon.example", PUBLIC_ISSUER)
    assert network.usdc_contract == CONTRACT
    assert str(network.usdc) == f"USDC:{PUBLIC_ISSUER}"
    assert str(XLM) == "XLM"


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=40, max_size=40))
def test_keys_are_spelled_as_the_sdk_spells_them(payload: bytes, muxed: bytes) -> None:
    assert encode_key("G", payload) == StrKey.encode_ed25519_public_key(payload)
    assert encode_key("C", payload) == StrKey.encode_contract(payload)
    assert encode_key("S", payload) == StrKey.encode_ed25519_secret_seed(payload)
    assert encode_key("M", muxed) == StrKey.encode_med25519_public_key(muxed)
    assert decode_key(encode_key("M", muxed)) == ("M", muxed)


def test_a_secret_and_its_address() -> None:
    assert seed_of(SECRET) == bytes(range(32))
    assert address_of(bytearray(SECRET)) == SOURCE


def test_a_new_keypair_belongs_together_and_is_new() -> None:
    first, second = new_keypair(), new_keypair()
    assert first.address != second.address
    assert Keypair.from_secret(first.secret.decode()).public_key == first.address
    assert first.secret.decode() not in repr(first)


def test_destinations() -> None:
    account, muxed, contract = map(parse_destination, (SOURCE, MUXED, CONTRACT))
    assert (account.kind, account.account, account.muxed_id) == ("account", SOURCE, None)
    assert (muxed.kind, muxed.account, muxed.muxed_id) == ("muxed", MUXED_ACCOUNT, 420)
    assert (contract.kind, contract.account) == ("contract", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "G",
        SOURCE[:-1],
        SOURCE + "A",
        SOURCE + "\n",
        SOURCE.lower(),
        SOURCE[:-1] + "R",  # wrong checksum
        "C" + SOURCE[1:],  # wrong version byte
        MUXED[:-1] + "5",  # stray bits in the last character
        SOURCE.replace("A", "Ａ", 1),
        "=" * 56,
        SECRET.decode(),
    ],
)
def test_what_is_not_a_destination_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_destination(text)


def test_an_address_is_not_a_secret() -> None:
    with pytest.raises(InvalidAddress):
        seed_of(SOURCE.encode())
    with pytest.raises(InvalidAddress):
        seed_of(b"\xff" * 56)
