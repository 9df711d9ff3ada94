"""What a contract call declares of the resources that it uses."""

from typing import Final

from stellar_sdk import xdr

_INSTRUCTIONS: Final = 2_500_000
_BYTES: Final = 5_000


def resources(contract: xdr.SCAddress, fee: int) -> xdr.SorobanTransactionData:
    """A plausible footprint: the contract that is called, read and written. `fee` is the resource fee."""
    key = xdr.LedgerKey(
        xdr.LedgerEntryType.CONTRACT_DATA,
        contract_data=xdr.LedgerKeyContractData(
            contract=contract,
            key=xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE),
            durability=xdr.ContractDataDurability.PERSISTENT,
        ),
    )
    declared = xdr.SorobanResources(
        footprint=xdr.LedgerFootprint(read_only=[], read_write=[key]),
        instructions=xdr.Uint32(_INSTRUCTIONS),
        disk_read_bytes=xdr.Uint32(_BYTES),
        write_bytes=xdr.Uint32(_BYTES),
    )
    return xdr.SorobanTransactionData(xdr.SorobanTransactionDataExt(0), declared, xdr.Int64(fee))
