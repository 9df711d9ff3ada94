"""The first ledgers: the sandbox's own accounts, made by real transactions."""

from typing import Final

from stellar_sdk import Account, Keypair, TransactionBuilder

from offerhub.sandbox.options import Cast

_FRIENDBOT_XLM: Final = "10000000000"
_SERVICE_XLM: Final = "100000000"


def genesis_envelopes(cast: Cast) -> list[list[str]]:
    """The envelopes of ledgers 2 and 3, in base64: accounts, then the fee account's trustline."""
    builder = _builder(cast, cast.root, 0)
    builder.append_create_account_op(cast.friendbot.public_key, _FRIENDBOT_XLM)
    for keypair in (cast.issuer, cast.trustless_fee, *cast.minions):
        builder.append_create_account_op(keypair.public_key, _SERVICE_XLM)
    trust = _builder(cast, cast.trustless_fee, 2 << 32)
    trust.append_change_trust_op(cast.usdc)
    return [_signed(builder, cast.root), _signed(trust, cast.trustless_fee)]


def _builder(cast: Cast, source: Keypair, sequence: int) -> TransactionBuilder:
    builder = TransactionBuilder(Account(source.public_key, sequence), cast.network_passphrase, base_fee=100)
    return builder.add_time_bounds(0, 0)


def _signed(builder: TransactionBuilder, signer: Keypair) -> list[str]:
    envelope = builder.build()
    envelope.sign(signer)
    return [envelope.to_xdr()]
