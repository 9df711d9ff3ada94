"""The transactions we build ourselves, and signing. Pure; loads stellar-sdk: import it where it is used.

Sign once, store, then send: build and sign give the hash before anything is submitted. `sequence` is always
the transaction's own number, one above the account's. `fee` is the bid in stroops per operation. `max_time` is
a Unix time in seconds and mandatory: without one, a transaction could land at any later time (providers.md 6.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stellar_sdk import Account, FeeBumpTransactionEnvelope, Keypair, TransactionBuilder, TransactionEnvelope
from stellar_sdk import Asset as SdkAsset
from stellar_sdk import xdr as sdk_xdr

from offerhub.kernel.money import Units, format_chain_amount
from offerhub.providers.stellar.keys import seed_of
from offerhub.providers.stellar.network import Asset

MEMO_BYTES_MAX: Final = 28


@dataclass(frozen=True, slots=True)
class Unsigned:
    """An envelope without signatures (base64), and its hash (hex), which signing does not change."""

    xdr: str
    hash: str


@dataclass(frozen=True, slots=True)
class Signed:
    """An envelope to be stored and submitted as it is (base64), and its hash (hex)."""

    xdr: str
    hash: str


def build_payment(
    passphrase: str,
    *,
    source: str,
    sequence: int,
    destination: str,
    amount: Units,
    asset: Asset,
    fee: int,
    max_time: int,
    min_time: int = 0,
    memo: str | None = None,
    payer: str | None = None,
) -> Unsigned:
    """A payment to a G… or M… address. Raises ValueError for a memo of more than 28 bytes or no amount.

    `payer` pays where that is not the source, which then only lends its sequence number; both must sign.
    """
    if amount <= 0:
        raise ValueError("a payment needs an amount")
    builder = _builder(passphrase, source, sequence, fee, max_time=max_time, min_time=min_time)
    builder.append_payment_op(destination, _sdk_asset(asset), format_chain_amount(amount), source=payer)
    if memo is not None:
        if not 0 < len(memo.encode()) <= MEMO_BYTES_MAX:
            raise ValueError(f"a memo has 1 to {MEMO_BYTES_MAX} bytes")
        builder.add_text_memo(memo)
    return _unsigned(builder)


def build_trustline(
    passphrase: str, *, source: str, sequence: int, asset: Asset, fee: int, max_time: int
) -> Unsigned:
    """Let an account hold an asset, without a limit of its own."""
    builder = _builder(passphrase, source, sequence, fee, max_time=max_time)
    builder.append_change_trust_op(_sdk_asset(asset))
    return _unsigned(builder)


def build_sponsored_account(
    passphrase: str,
    *,
    source: str,
    sequence: int,
    sponsor: str,
    account: str,
    create: bool,
    asset: Asset | None,
    fee: int,
    max_time: int,
) -> Unsigned:
    """Create an account without XLM, let it hold an asset, or both; the sponsor keeps the reserves for it.

    `source` lends its sequence number. It, the sponsor and the account must sign. Raises ValueError for neither.
    """
    if not create and asset is None:
        raise ValueError("there is nothing to sponsor")
    builder = _builder(passphrase, source, sequence, fee, max_time=max_time)
    builder.append_begin_sponsoring_future_reserves_op(account, source=sponsor)
    if create:
        builder.append_create_account_op(account, "0", source=sponsor)
    if asset is not None:
        builder.append_change_trust_op(_sdk_asset(asset), source=account)
    builder.append_end_sponsoring_future_reserves_op(source=account)
    return _unsigned(builder)


def sign(xdr: str, passphrase: str, secrets: Sequence[bytes | bytearray]) -> Signed:
    """Sign an envelope with every secret `S…`. The same input always gives the same bytes (Ed25519)."""
    envelope = _parse(xdr, passphrase)
    for secret in secrets:
        envelope.sign(Keypair.from_raw_ed25519_seed(seed_of(secret)))
    return Signed(envelope.to_xdr(), envelope.hash_hex())


@dataclass(frozen=True, slots=True)
class FeeNeeds:
    """What a fee bump of a transaction has to reckon with, in stroops.

    `floor` is the inner bid for inclusion, per operation: a bump may not bid less. `resource_fee` is what a contract
    call declares besides.
    """

    operations: int
    floor: int
    resource_fee: int

    def ceiling(self, cap: int) -> int:
        """The highest bid per operation with which the whole fee stays within the cap."""
        return (cap - self.resource_fee) // (self.operations + 1)


def fee_needs(signed_xdr: str) -> FeeNeeds:
    """Read what a fee bump of this plain envelope needs."""
    envelope = sdk_xdr.TransactionEnvelope.from_xdr(signed_xdr)
    if envelope.v1 is None:
        raise ValueError("only a plain transaction can be wrapped")
    transaction = envelope.v1.tx
    data = transaction.ext.soroban_data
    resource_fee = 0 if data is None else data.resource_fee.int64
    operations = len(transaction.operations)
    floor = -(-(transaction.fee.uint32 - resource_fee) // operations)
    return FeeNeeds(operations, max(floor, 0), resource_fee)


def fee_bump(
    signed_xdr: str, passphrase: str, *, fee_source: str, fee: int, secrets: Sequence[bytes | bytearray]
) -> Signed:
    """Wrap a signed transaction so that another account pays a higher fee; the sequence number stays.

    `fee` is per operation, of which the wrapper counts as one more. The hash is the wrapper's; Horizon finds
    the transaction under either.
    """
    inner = _parse(signed_xdr, passphrase)
    if not isinstance(inner, TransactionEnvelope):
        raise ValueError("only a plain transaction can be wrapped")  # noqa: TRY004 - the value is wrong, not its type
    bumped = TransactionBuilder.build_fee_bump_transaction(fee_source, fee, inner, passphrase)
    return sign(bumped.to_xdr(), passphrase, secrets)


def _builder(
    passphrase: str, source: str, sequence: int, fee: int, *, max_time: int, min_time: int = 0
) -> TransactionBuilder:
    if max_time <= min_time:
        raise ValueError("max_time is mandatory and must lie after min_time")
    # The builder counts one up from what it is given.
    builder = TransactionBuilder(Account(source, sequence - 1), passphrase, base_fee=fee)
    return builder.add_time_bounds(min_time, max_time)


def _unsigned(builder: TransactionBuilder) -> Unsigned:
    envelope = builder.build()
    return Unsigned(envelope.to_xdr(), envelope.hash_hex())


def _sdk_asset(asset: Asset) -> SdkAsset:
    return SdkAsset.native() if asset.issuer is None else SdkAsset(asset.code, asset.issuer)


def _parse(envelope_xdr: str, passphrase: str) -> TransactionEnvelope | FeeBumpTransactionEnvelope:
    envelope = sdk_xdr.TransactionEnvelope.from_xdr(envelope_xdr)
    if envelope.fee_bump is not None:
        return FeeBumpTransactionEnvelope.from_xdr_object(envelope, passphrase)
    return TransactionEnvelope.from_xdr_object(envelope, passphrase)
