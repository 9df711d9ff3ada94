"""`getLedgerEntries`: accounts, trustlines, their data, and what contracts store, as XDR (providers.md 6.6)."""

import base64
from collections.abc import Sequence
from typing import Any, Final

from stellar_sdk import Address, Keypair, StrKey, scval, xdr
from stellar_sdk import Asset as AnyAsset
from stellar_sdk.xdr import LedgerEntryType as Kind

from offerhub.sandbox import encoding
from offerhub.sandbox.chain import Chain
from offerhub.sandbox.multi_encoding import MultiEscrow, multi_to_scval
from offerhub.sandbox.rpc_problem import bad_params
from offerhub.sandbox.soroban import instance_key
from offerhub.sandbox.state import NATIVE, Account, State, Trustline, asset_name
from offerhub.sandbox.token_events import token_of

KEYS_MAX: Final = 200
_LIFETIME_LEDGERS: Final = 4_096
_AUTHORIZED: Final = 1


def get_ledger_entries(chain: Chain, keys: Sequence[Any]) -> dict[str, Any]:
    """The answer; a key that leads nowhere is left out. Raises RpcProblem."""
    if not keys or len(keys) > KEYS_MAX:
        raise bad_params(f"key count must be 1 to {KEYS_MAX}")
    entries = []
    for text in keys:
        try:
            key = xdr.LedgerKey.from_xdr(text)
        except Exception as error:  # the SDK lets whatever its parser meets escape
            raise bad_params(f"cannot unmarshal key value {str(text)[:80]}") from error
        found = _entry(chain, key)
        if found is not None:
            data, modified, live_until = found
            shown = {"key": text, "xdr": data.to_xdr(), "lastModifiedLedgerSeq": modified}
            entries.append(shown if live_until is None else {**shown, "liveUntilLedgerSeq": live_until})
    return {"entries": entries, "latestLedger": chain.latest.sequence}


def _entry(chain: Chain, key: xdr.LedgerKey) -> tuple[xdr.LedgerEntryData, int, int | None] | None:
    state = chain.state
    if key.account is not None:
        account = state.accounts.get(_address(key.account.account_id))
        if account is not None:
            return xdr.LedgerEntryData(Kind.ACCOUNT, account=_account(account)), state.modified[account.id], None
    elif key.trust_line is not None:
        return _line(state, key.trust_line)
    elif key.data is not None:
        return _data(state, key.data)
    elif key.contract_data is not None:
        value = _contract_value(chain, key.contract_data)
        if value is not None:
            contract = Address.from_xdr_sc_address(key.contract_data.contract).address
            latest = chain.latest.sequence
            live_until = latest - 1 if contract in state.archived else latest + _LIFETIME_LEDGERS
            entry = xdr.ContractDataEntry(
                xdr.ExtensionPoint(0),
                key.contract_data.contract,
                key.contract_data.key,
                key.contract_data.durability,
                value,
            )
            return xdr.LedgerEntryData(Kind.CONTRACT_DATA, contract_data=entry), latest, live_until
    return None


def _address(account: xdr.AccountID) -> str:
    key = account.account_id.ed25519
    assert key is not None
    return StrKey.encode_ed25519_public_key(key.uint256)


def _account(account: Account) -> xdr.AccountEntry:
    signers = [
        xdr.Signer(
            xdr.SignerKey(
                xdr.SignerKeyType.SIGNER_KEY_TYPE_ED25519,
                ed25519=xdr.Uint256(Keypair.from_public_key(key).raw_public_key()),
            ),
            xdr.Uint32(weight),
        )
        for key, weight in sorted(account.signers.items())
    ]
    sponsorship = xdr.AccountEntryExtensionV2(
        xdr.Uint32(account.sponsored),
        xdr.Uint32(account.sponsoring),
        [xdr.SponsorshipDescriptor(None) for _ in signers],
        xdr.AccountEntryExtensionV2Ext(0),
    )
    extension = xdr.AccountEntryExtensionV1(
        xdr.Liabilities(xdr.Int64(0), xdr.Int64(0)), xdr.AccountEntryExtensionV1Ext(2, v2=sponsorship)
    )
    return xdr.AccountEntry(
        Keypair.from_public_key(account.id).xdr_account_id(),
        xdr.Int64(account.balance),
        xdr.SequenceNumber(xdr.Int64(account.sequence)),
        xdr.Uint32(account.subentries),
        None,
        xdr.Uint32(account.flags),
        xdr.String32(account.home_domain.encode()),
        xdr.Thresholds(bytes([account.master_weight, account.low, account.medium, account.high])),
        signers,
        xdr.AccountEntryExt(1, v1=extension),
    )


def _line(state: State, key: xdr.LedgerKeyTrustLine) -> tuple[xdr.LedgerEntryData, int, None] | None:
    asset = key.asset
    named = xdr.Asset(asset.type, alpha_num4=asset.alpha_num4, alpha_num12=asset.alpha_num12)
    place = (_address(key.account_id), asset_name(named))
    line: Trustline | None = state.trustlines.get(place)
    if line is None:
        return None
    entry = xdr.TrustLineEntry(
        key.account_id,
        asset,
        xdr.Int64(line.balance),
        xdr.Int64(line.limit),
        xdr.Uint32(_AUTHORIZED if line.authorized else 0),
        xdr.TrustLineEntryExt(0),
    )
    return xdr.LedgerEntryData(Kind.TRUSTLINE, trust_line=entry), state.modified[place], None


def _data(state: State, key: xdr.LedgerKeyData) -> tuple[xdr.LedgerEntryData, int, None] | None:
    address, name = _address(key.account_id), key.data_name.string64.decode()
    account = state.accounts.get(address)
    if account is None or name not in account.data:
        return None
    value = xdr.DataValue.from_xdr_bytes(_opaque(account.data[name]))
    entry = xdr.DataEntry(key.account_id, key.data_name, value, xdr.DataEntryExt(0))
    return xdr.LedgerEntryData(Kind.DATA, data=entry), state.modified[address], None


def _opaque(text: str) -> bytes:
    """Base64 as XDR of variable length."""
    raw = base64.b64decode(text)
    return len(raw).to_bytes(4, "big") + raw + bytes(-len(raw) % 4)


def _contract_value(chain: Chain, key: xdr.LedgerKeyContractData) -> xdr.SCVal | None:
    """What a contract stores under this key: an escrow in its instance, a holding in a token's contract."""
    contract = Address.from_xdr_sc_address(key.contract).address
    if key.key == instance_key(key.contract).contract_data.key:  # type: ignore[union-attr]
        return _instance(chain, contract)
    if key.key.vec is None or len(key.key.vec.sc_vec) != 2 or key.key.vec.sc_vec[0] != scval.to_symbol("Balance"):
        return None
    owner = encoding.address_from(key.key.vec.sc_vec[1])
    passphrase = chain.options.network_passphrase
    usdc = asset_name(AnyAsset(chain.cast.usdc.code, chain.cast.usdc.issuer))
    asset = next((one for one in (usdc, NATIVE) if token_of(one, passphrase) == contract), None)
    if asset is None or (owner, asset) not in chain.state.contract_balances:
        return None
    fields = {
        "amount": scval.to_int128(chain.state.contract_balances[owner, asset]),
        "authorized": scval.to_bool(True),
        "clawback": scval.to_bool(False),
    }
    return scval.to_map({scval.to_symbol(name): value for name, value in fields.items()})


def _instance(chain: Chain, contract: str) -> xdr.SCVal | None:
    stored = chain.state.escrows.get(contract)
    if stored is None:
        return None
    code = xdr.ContractExecutable(
        xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM,
        wasm_hash=xdr.Hash(
            chain.cast.digest("multi-release-escrow-wasm" if isinstance(stored, MultiEscrow) else "escrow-wasm")
        ),
    )
    struct = multi_to_scval(stored) if isinstance(stored, MultiEscrow) else encoding.escrow_to_scval(stored)
    named = scval.to_vec([scval.to_symbol("Escrow")])
    storage = xdr.SCMap([xdr.SCMapEntry(named, struct)])
    return xdr.SCVal(
        xdr.SCValType.SCV_CONTRACT_INSTANCE, instance=xdr.SCContractInstance(executable=code, storage=storage)
    )
