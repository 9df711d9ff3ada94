"""The vault opens a secret only for the row and the key version it was sealed for."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from offerhub.runtime.vault import Sealed, Vault, VaultError, read_legacy, wipe

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
VAULT = Vault({1: OLD, 2: NEW}, current=2)
SECRET = b"SAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6NKI"


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_is_sealed_opens_again(plaintext: bytes, owner: str) -> None:
    assert VAULT.open(VAULT.seal(plaintext, bound_to=owner), bound_to=owner) == plaintext


def test_a_secret_is_sealed_under_the_current_key_and_never_twice_alike() -> None:
    first, second = (VAULT.seal(SECRET, bound_to="wallet:a") for _ in range(2))
    assert first.version == second.version == 2
    assert first.blob != second.blob
    assert SECRET not in first.blob
    assert len(first.blob) == 12 + len(SECRET) + 16


def test_an_old_key_still_opens() -> None:
    sealed = Vault({1: OLD}, current=1).seal(SECRET, bound_to="wallet:a")
    assert VAULT.open(sealed, bound_to="wallet:a") == SECRET


def test_a_ciphertext_moved_to_another_row_does_not_open() -> None:
    sealed = VAULT.seal(SECRET, bound_to="wallet:a")
    with pytest.raises(VaultError):
        VAULT.open(sealed, bound_to="wallet:b")


def test_the_version_is_authenticated_even_under_the_same_key() -> None:
    twins = Vault({1: OLD, 2: OLD}, current=1)
    sealed = twins.seal(SECRET, bound_to="wallet:a")
    with pytest.raises(VaultError):
        twins.open(Sealed(2, sealed.blob), bound_to="wallet:a")


@pytest.mark.parametrize("position", [0, 11, 12, 40, -1])
def test_one_changed_bit_is_found(position: int) -> None:
    sealed = VAULT.seal(SECRET, bound_to="wallet:a")
    damaged = bytearray(sealed.blob)
    damaged[position] ^= 1
    with pytest.raises(VaultError):
        VAULT.open(Sealed(sealed.version, bytes(damaged)), bound_to="wallet:a")


@pytest.mark.parametrize("blob", [b"", b"x" * 12, b"x" * 27])
def test_a_cut_secret_does_not_open(blob: bytes) -> None:
    with pytest.raises(VaultError):
        VAULT.open(Sealed(2, blob), bound_to="wallet:a")


def test_an_unknown_version_is_named() -> None:
    with pytest.raises(VaultError, match="version 7"):
        VAULT.open(Sealed(7, b"x" * 40), bound_to="wallet:a")


def test_wrong_keys_are_found_at_once() -> None:
    with pytest.raises(VaultError, match=r"\[3\]"):
        Vault({1: OLD, 3: b"short"}, current=1)
    with pytest.raises(VaultError, match="version 2"):
        Vault({1: OLD}, current=2)


def test_keys_do_not_show_in_a_log() -> None:
    assert "x01" not in repr(VAULT)


def test_wipe_leaves_nothing() -> None:
    opened = VAULT.open(VAULT.seal(SECRET, bound_to="a"), bound_to="a")
    wipe(opened)
    assert opened == bytes(len(SECRET))


def _legacy(plaintext: bytes, key: bytes) -> str:
    nonce = bytes(range(16))
    sealed = AESGCM(key).encrypt(nonce, plaintext, None)
    return f"{nonce.hex()}:{sealed[-16:].hex()}:{sealed[:-16].hex()}"


def test_a_secret_of_the_existing_product_is_read() -> None:
    assert read_legacy(_legacy(SECRET, OLD), OLD) == SECRET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00:00:00",
        _legacy(SECRET, OLD) + "0",
        _legacy(SECRET, OLD) + "\n",
        _legacy(SECRET, OLD).replace(":", ";"),
        _legacy(SECRET, NEW),
    ],
)
def test_what_is_not_such_a_secret_is_refused(text: str) -> None:
    with pytest.raises(VaultError):
        read_legacy(text, OLD)
