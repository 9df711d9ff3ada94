"""What we build and sign, against the vectors of providers.md 6.8."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from stellar_sdk import Keypair, Network, TransactionEnvelope

from offerhub.kernel.money import Units
from offerhub.providers.stellar.envelope import UnreadableEnvelopeError, decode
from offerhub.providers.stellar.keys import encode_key
from offerhub.providers.stellar.network import PUBLIC_PASSPHRASE, TESTNET_PASSPHRASE, XLM, Asset
from offerhub.providers.stellar.transactions import (
    Unsigned,
    build_payment,
    build_sponsored_account,
    build_trustline,
    fee_bump,
    sign,
)

SECRET = b"SAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6NKI"
SOURCE = "GAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QZ6Q"
OTHER = Keypair.from_raw_ed25519_seed(bytes(range(32, 64)))
OTHER_SECRET = OTHER.secret.encode()
DESTINATION = "GAU2ZOXBIG6MV4FSFYNJJU2NBPDTMHSSNUF74EWIS6KLZEZCSZW5O6FW"
SPONSOR = "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ"
USDC = Asset("USDC", "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5")
HASH = "1e07fe836b30078c04d58e2f88523fdef7b18655d7126c2571ff3ffb97d7b4da"
ENVELOPE = (
    "AAAAAgAAAAADoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuAAAA+gAAAAASZYC0wAAAAEAAAAAaOd4AAAAAABo53h4AAAA"
    "AQAAAAhkZXBfMDAwMQAAAAEAAAAAAAAAAQAAAAAprLrhQbzK8LIuGpTTTQvHNh5SbQv+EsiXlLyTIpZt1wAAAAFVU0RDAAAAAEI+"
    "fQXy7K+/7BkrIVo/G+lq7bjY5wJUq+NBPgIH3layAAAAAA8y/cAAAAAAAAAAARJVMbgAAABAMlA/iqwPVHaCB5KK9r7UK3nnJscm"
    "GykOEcrnRc4e90EXh7V8y/9tZGVV0EWy+oVbkKWi/8+819z2ME8pSz3FCQ=="
)


def _payment(**changes: object) -> str:
    terms: dict[str, object] = {
        "source": SOURCE,
        "sequence": 1234567891,
        "destination": DESTINATION,
        "amount": Units(255_000_000),
        "asset": USDC,
        "fee": 1000,
        "min_time": 1760000000,
        "max_time": 1760000120,
        "memo": "dep_0001",
    }
    return build_payment(TESTNET_PASSPHRASE, **(terms | changes)).xdr  # type: ignore[arg-type]


def test_the_signed_payment_is_the_published_one() -> None:
    signed = sign(_payment(), TESTNET_PASSPHRASE, [SECRET])
    assert signed.hash == HASH
    assert signed.xdr == ENVELOPE
    assert sign(_payment(), TESTNET_PASSPHRASE, [bytearray(SECRET)]) == signed


def test_the_unsigned_payment_has_the_same_hash() -> None:
    unsigned = build_payment(
        TESTNET_PASSPHRASE,
        source=SOURCE,
        sequence=1234567891,
        destination=DESTINATION,
        amount=Units(255_000_000),
        asset=USDC,
        fee=1000,
        min_time=1760000000,
        max_time=1760000120,
        memo="dep_0001",
    )
    assert unsigned.hash == HASH
    assert unsigned.xdr != ENVELOPE


def test_the_fee_bump_is_the_published_one() -> None:
    bumped = fee_bump(ENVELOPE, TESTNET_PASSPHRASE, fee_source=DESTINATION, fee=20_000, secrets=[OTHER_SECRET])
    assert bumped.hash == "ad9e2b4f2bbbcc0b75b4f9901d3a35b07e496a1bba819868ff40e41dad2e6792"
    with pytest.raises(ValueError, match="plain"):
        fee_bump(bumped.xdr, TESTNET_PASSPHRASE, fee_source=SOURCE, fee=40_000, secrets=[SECRET])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memo": "ü" * 15}, "28 bytes"),
        ({"memo": ""}, "28 bytes"),
        ({"amount": Units(0)}, "amount"),
        ({"max_time": 0, "min_time": 0}, "max_time"),
    ],
)
def test_a_payment_that_must_not_be_built(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _payment(**changes)


def test_a_muxed_destination_and_a_memo_of_28_bytes() -> None:
    muxed = "MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUAAAAAAAAAABUTGI4"
    envelope = TransactionEnvelope.from_xdr(_payment(destination=muxed, memo="x" * 28, asset=XLM), TESTNET_PASSPHRASE)
    operation = envelope.transaction.operations[0]
    assert operation.destination.account_muxed == muxed  # type: ignore[attr-defined]
    assert operation.asset.is_native()  # type: ignore[attr-defined]


def test_a_trustline() -> None:
    unsigned = build_trustline(
        TESTNET_PASSPHRASE, source=SOURCE, sequence=8, asset=USDC, fee=100, max_time=1760000120
    )
    envelope = TransactionEnvelope.from_xdr(unsigned.xdr, TESTNET_PASSPHRASE)
    assert envelope.transaction.sequence == 8
    assert envelope.transaction.fee == 100
    assert [type(operation).__name__ for operation in envelope.transaction.operations] == ["ChangeTrust"]


def sponsored(*, create: bool, asset: Asset | None) -> Unsigned:
    return build_sponsored_account(
        TESTNET_PASSPHRASE,
        source=SOURCE,
        sequence=8,
        sponsor=SPONSOR,
        account=DESTINATION,
        create=create,
        asset=asset,
        fee=100,
        max_time=1760000120,
    )


@pytest.mark.parametrize(
    ("create", "asset", "inside"),
    [(True, USDC, ["CreateAccount", "ChangeTrust"]), (True, None, ["CreateAccount"]), (False, USDC, ["ChangeTrust"])],
)
def test_a_sponsored_account(create: bool, asset: Asset | None, inside: list[str]) -> None:
    envelope = TransactionEnvelope.from_xdr(sponsored(create=create, asset=asset).xdr, TESTNET_PASSPHRASE)
    transaction = envelope.transaction
    assert transaction.source.account_id == SOURCE, "a channel lends its sequence number only"
    begin, *middle, end = transaction.operations
    assert begin.sponsored_id == DESTINATION  # type: ignore[attr-defined]
    assert [type(operation).__name__ for operation in middle] == inside
    sources = [operation.source.account_id for operation in transaction.operations]  # type: ignore[union-attr]
    of_middle = {"CreateAccount": SPONSOR, "ChangeTrust": DESTINATION}
    assert sources == [SPONSOR, *(of_middle[name] for name in inside), DESTINATION]
    if create:
        assert middle[0].starting_balance == "0"  # type: ignore[attr-defined]
    assert type(end).__name__ == "EndSponsoringFutureReserves"


def test_nothing_to_sponsor_is_not_built() -> None:
    with pytest.raises(ValueError, match="nothing to sponsor"):
        sponsored(create=False, asset=None)


def test_every_secret_signs() -> None:
    signed = sign(sponsored(create=True, asset=USDC).xdr, TESTNET_PASSPHRASE, [SECRET, OTHER_SECRET])
    envelope = TransactionEnvelope.from_xdr(signed.xdr, TESTNET_PASSPHRASE)
    for key, signature in zip((Keypair.from_public_key(SOURCE), OTHER), envelope.signatures, strict=True):
        key.verify(bytes.fromhex(signed.hash), signature.signature)


def test_a_payment_through_a_channel() -> None:
    unsigned = build_payment(
        TESTNET_PASSPHRASE,
        source=SOURCE,
        sequence=8,
        destination=DESTINATION,
        amount=Units(1),
        asset=USDC,
        fee=100,
        max_time=1760000120,
        payer=SPONSOR,
    )
    transaction = TransactionEnvelope.from_xdr(unsigned.xdr, TESTNET_PASSPHRASE).transaction
    assert transaction.source.account_id == SOURCE
    [operation] = transaction.operations
    assert operation.source is not None
    assert operation.source.account_id == SPONSOR


def test_a_payment_taken_apart() -> None:
    decoded = decode(ENVELOPE, TESTNET_PASSPHRASE)
    assert decoded.hash == HASH
    assert (decoded.source, decoded.sequence, decoded.fee) == (SOURCE, 1234567891, 1000)
    assert (decoded.min_time, decoded.max_time, decoded.preconditions) == (1760000000, 1760000120, "time")
    assert decoded.has_memo
    assert decoded.signatures == 1
    assert [operation.type for operation in decoded.operations] == ["payment"]
    assert decode(ENVELOPE, Network.PUBLIC_NETWORK_PASSPHRASE).hash != HASH


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "AAAA", ENVELOPE[:-8], ENVELOPE + "AAAA", ENVELOPE + "\n", "A" * 200_001, "é"],
)
def test_what_is_not_an_envelope_is_refused(text: str) -> None:
    with pytest.raises(UnreadableEnvelopeError):
        decode(text, TESTNET_PASSPHRASE)


def test_a_fee_bump_is_not_a_plain_transaction() -> None:
    bumped = fee_bump(ENVELOPE, TESTNET_PASSPHRASE, fee_source=DESTINATION, fee=20_000, secrets=[OTHER_SECRET])
    with pytest.raises(UnreadableEnvelopeError, match="FEE_BUMP"):
        decode(bumped.xdr, TESTNET_PASSPHRASE)


def test_the_vector_s_keys_and_hash_rule_hold_without_the_sdk() -> None:
    """sha256( sha256(passphrase) || int32 2 || the transaction's XDR without signatures ), signed by the source."""
    seeds = bytes(range(32)), bytes(range(32, 64))
    keys = [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]
    assert [encode_key("G", key.public_key().public_bytes_raw()) for key in keys] == [SOURCE, DESTINATION]
    assert encode_key("S", seeds[0]).encode() == SECRET
    whole = base64.b64decode(ENVELOPE)
    signature_bytes = 4 + 4 + 4 + 64  # one decorated signature: the count, the hint, the length, the signature
    kind, transaction, signature = whole[:4], whole[4:-signature_bytes], whole[-64:]
    assert int.from_bytes(kind, "big") == 2
    network = hashlib.sha256(b"Test SDF Network ; September 2015").digest()
    digest = hashlib.sha256(network + kind + transaction).digest()
    assert digest.hex() == HASH
    keys[0].public_key().verify(signature, digest)
    assert whole[-72:-68] == keys[0].public_key().public_bytes_raw()[-4:]


def test_the_vector_is_another_transaction_on_another_network() -> None:
    assert decode(ENVELOPE, TESTNET_PASSPHRASE).hash == HASH
    elsewhere = sign(_payment(), PUBLIC_PASSPHRASE, [SECRET])
    assert elsewhere.hash != HASH
    assert elsewhere.xdr != ENVELOPE
