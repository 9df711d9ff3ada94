"""What a contract call declares of the resources that it uses."""

from collections.abc import Sequence
from typing import Final

from stellar_sdk import Address, xdr

_INSTRUCTIONS: Final = 2_500_000
_BYTES: Final = 5_000
RESOURCE_FEE: Final = 120_000
"""What a call declares for its resources, in units of 10^-7 XLM."""
RESTORE_FEE: Final = 600_000
"""The least resource fee of a call whose contract is archived, and of an operation that restores one."""


def instance_key(contract: xdr.SCAddress) -> xdr.LedgerKey:
    """The key of what a contract stores in its instance."""
    return xdr.LedgerKey(
        xdr.LedgerEntryType.CONTRACT_DATA,
        contract_data=xdr.LedgerKeyContractData(
            contract=contract,
            key=xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE),
            durability=xdr.ContractDataDurability.PERSISTENT,
        ),
    )


def resources(contract: xdr.SCAddress, *, archived: bool = False) -> xdr.SorobanTransactionData:
    """A plausible footprint: the contract that is called, read and written.

    That of an archived contract says that the entry is to be restored, and pays for it (protocol 23).
    """
    declared = xdr.SorobanResources(
        footprint=xdr.LedgerFootprint(read_only=[], read_write=[instance_key(contract)]),
        instructions=xdr.Uint32(_INSTRUCTIONS),
        disk_read_bytes=xdr.Uint32(_BYTES),
        write_bytes=xdr.Uint32(_BYTES),
    )
    extension, fee = xdr.SorobanTransactionDataExt(0), RESOURCE_FEE
    if archived:
        restored = xdr.SorobanResourcesExtV0([xdr.Uint32(0)])
        extension, fee = xdr.SorobanTransactionDataExt(1, resource_ext=restored), RESTORE_FEE
    return xdr.SorobanTransactionData(extension, declared, xdr.Int64(fee))


def restores(data: xdr.SorobanTransactionData | None) -> set[str]:
    """The contracts (C…) whose archived entries a call with this data restores, since it pays enough for that."""
    if data is None or data.ext.resource_ext is None or data.resource_fee.int64 < RESTORE_FEE:
        return set()
    written = data.resources.footprint.read_write
    places = [place.uint32 for place in data.ext.resource_ext.archived_soroban_entries]
    return contracts_of([written[place] for place in places if place < len(written)])


def contracts_of(keys: Sequence[xdr.LedgerKey]) -> set[str]:
    """The contracts (C…) to which these keys of contract data belong."""
    found = [key.contract_data.contract for key in keys if key.contract_data is not None]
    return {Address.from_xdr_sc_address(contract).address for contract in found}
