"""Secrets are in clear for one signature only: wiped whatever happens, never logged, and opened nowhere else."""

import ast
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.errors import InternalError
from offerhub.providers.stellar import transactions
from offerhub.providers.stellar.network import TESTNET_PASSPHRASE, XLM
from offerhub.runtime import vault as vault_module
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Sealed, Vault, VaultError
from offerhub.wallets import store
from offerhub.wallets.keyring import Keyring

SOURCE = Path(__file__).parents[2] / "src" / "offerhub"
VAULT = Vault({1: b"k" * 32}, 1)


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(fresh_database_url, pool_size=2)
    yield opened
    await opened.close()


@pytest.fixture
async def wallets(database: Database) -> tuple[Keyring, list[str]]:
    """A keyring, and the addresses of two wallets."""
    keyring, addresses = Keyring(database, VAULT, TESTNET_PASSPHRASE), []
    for purpose in ("platform", "resolver"):
        address, sealed = keyring.make()
        await database.run(
            lambda tx, purpose=purpose, address=address, sealed=sealed: store.insert(  # type: ignore[misc]
                tx, DEFAULT_MARKETPLACE_ID, None, purpose, address, sealed
            )
        )
        addresses.append(address)
    return keyring, addresses


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytearray, str]]:
    """Every buffer that a secret was opened into, and what was in it then."""
    found: list[tuple[bytearray, str]] = []
    real = vault_module._decrypt

    def watched(*args: Any) -> bytearray:
        secret = real(*args)
        found.append((secret, secret.decode()))
        return secret

    monkeypatch.setattr(vault_module, "_decrypt", watched)
    return found


def payment(source: str) -> str:
    terms = {"sequence": 8, "destination": source, "amount": 1, "asset": XLM, "fee": 100, "max_time": 1760000120}
    return transactions.build_payment(TESTNET_PASSPHRASE, source=source, **terms).xdr  # type: ignore[arg-type]


def assert_wiped(opened: list[tuple[bytearray, str]], count: int, printed: str) -> None:
    assert len(opened) == count
    for buffer, secret in opened:
        assert secret.startswith("S"), "it was a secret"
        assert buffer == bytes(len(buffer)), "and is no more"
        assert secret not in printed


async def test_a_signature_leaves_no_secret_behind(
    wallets: tuple[Keyring, list[str]], opened: list[tuple[bytearray, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    keyring, addresses = wallets
    signed = await keyring.sign(addresses, payment(addresses[0]))
    assert len(transactions._parse(signed.xdr, TESTNET_PASSPHRASE).signatures) == 2
    assert_wiped(opened, 2, signed.xdr + capsys.readouterr().out)


async def test_a_failed_signature_leaves_none_either(
    wallets: tuple[Keyring, list[str]], opened: list[tuple[bytearray, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    keyring, addresses = wallets
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the SDK makes of it
        await keyring.sign(addresses, "AAAA")
    assert_wiped(opened, 2, repr(caught.value) + capsys.readouterr().out)


async def test_a_second_secret_that_does_not_open_wipes_the_first(
    database: Database, wallets: tuple[Keyring, list[str]], opened: list[tuple[bytearray, str]]
) -> None:
    keyring, addresses = wallets
    damaged = "UPDATE wallets SET secret_blob = secret_blob || 'x'::bytea WHERE public_key = $1"
    await database.run(lambda tx: tx.execute(damaged, addresses[1]))
    with pytest.raises(VaultError):
        await keyring.sign(addresses, payment(addresses[0]))
    assert_wiped(opened, 1, "")


async def test_sealing_anew_leaves_none_behind(
    database: Database, wallets: tuple[Keyring, list[str]], opened: list[tuple[bytearray, str]]
) -> None:
    _, addresses = wallets
    both = Vault({1: b"k" * 32, 2: b"n" * 32}, 2)
    sealed = await database.run(lambda tx: store.sealed_secrets(tx, addresses[:1]))
    again = Keyring(database, both, TESTNET_PASSPHRASE).reseal(addresses[0], sealed[addresses[0]])
    assert again.version == 2
    assert_wiped(opened, 2, repr(again))
    with pytest.raises(VaultError):
        Keyring(database, both, TESTNET_PASSPHRASE).reseal(addresses[0], Sealed(3, again.blob))


async def test_an_account_without_a_key_is_named(wallets: tuple[Keyring, list[str]]) -> None:
    keyring, addresses = wallets
    stranger, _ = keyring.make()
    with pytest.raises(InternalError) as caught:
        await keyring.sign([addresses[0], stranger], payment(addresses[0]))
    assert caught.value.details["accounts"] == [stranger]


def test_each_kind_of_secret_is_opened_in_one_place() -> None:
    """Wallets in the keyring, kept answers in the edge, webhooks' secrets where they sign, seals in the audit."""
    found = set()
    for module in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "open"
                and any(keyword.arg == "bound_to" for keyword in node.keywords)
            ):
                found.add(module.relative_to(SOURCE).as_posix())
    places = {"wallets/keyring.py", "edge/idempotency.py", "webhook_endpoints/signing.py", "audit/chain.py"}
    assert found == places
