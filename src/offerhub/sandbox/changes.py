"""What the controls do to the ledger beside its transactions. Each is remembered, and done again at a restart.

They stand for what others do: an issuer that freezes a line, a contract that nobody has touched for months, a
testnet that is reset. No money moves in them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from offerhub.kernel.money import AmountError, parse_chain_amount
from offerhub.sandbox import escrow, multi_escrow
from offerhub.sandbox.escrow import ContractError
from offerhub.sandbox.multi_encoding import MultiEscrow
from offerhub.sandbox.rules import FEE_MODES
from offerhub.sandbox.state import INT64_MAX, Account, State, Trustline

SURGE_MAX: Final = 100_000
_SPONSORED_RESERVES: Final = 3
"""An account's own two, and its trustline's."""


class ChangeRefused(Exception):
    """The ledger cannot be changed like that; the text says why."""


def apply_change(state: State, kind: str, body: Mapping[str, Any], usdc: str) -> None:
    """Change the state. Raises ChangeRefused; the caller rolls back."""
    changes: dict[str, Callable[[State, Mapping[str, Any], str], None]] = {
        "rules": _rules,
        "line": _line,
        "archive": _archive,
        "dispute": _dispute,
        "accounts": _accounts,
    }
    changes[kind](state, body, usdc)


def _rules(state: State, body: Mapping[str, Any], usdc: str) -> None:
    fee_mode, surge = body.get("fee_mode", state.rules.fee_mode), body.get("surge", state.rules.surge)
    if fee_mode not in FEE_MODES:
        raise ChangeRefused(f"fee_mode must be one of {', '.join(FEE_MODES)}")
    if not isinstance(surge, int) or not 1 <= surge <= SURGE_MAX:
        raise ChangeRefused(f"surge must be a whole number from 1 to {SURGE_MAX}")
    state.rules.fee_mode, state.rules.surge = fee_mode, surge


def _line(state: State, body: Mapping[str, Any], usdc: str) -> None:
    """`limit` in chain text, or `full` to set it to what the line holds; `authorized` false freezes it."""
    key = (str(body.get("address")), usdc)
    line = state.trustlines.get(key)
    if line is None:
        raise ChangeRefused(f"{key[0][:80]} has no USDC trustline")
    limit = body.get("limit")
    if limit == "full":
        line = replace(line, limit=max(line.balance, 1))
    elif limit is not None:
        try:
            units = parse_chain_amount(str(limit))
        except AmountError as error:
            raise ChangeRefused(f"limit is not an amount: {error}") from error
        if units < max(line.balance, 1):
            raise ChangeRefused("limit must not be below what the line holds")
        line = replace(line, limit=units)
    state.put(state.trustlines, key, replace(line, authorized=bool(body.get("authorized", line.authorized))))


def _archive(state: State, body: Mapping[str, Any], usdc: str) -> None:
    state.put(state.archived, _contract(state, body), True)


def _dispute(state: State, body: Mapping[str, Any], usdc: str) -> None:
    """The seller opens a dispute behind everybody's back; of a multi-release escrow, about `milestone` (0, 1 …)."""
    contract = _contract(state, body)
    stored = state.escrows[contract]
    try:
        if isinstance(stored, MultiEscrow):
            index = int(body.get("milestone") or 0)
            multi_escrow.dispute(state, contract, index, stored.roles.service_provider)
        else:
            escrow.dispute(state, contract, stored.roles.service_provider)
    except ContractError as error:
        raise ChangeRefused(str(error)) from error


def _accounts(state: State, body: Mapping[str, Any], usdc: str) -> None:
    """Accounts with a USDC trustline and no XLM, as the sponsored wallets of a service have them, all at once."""
    addresses, sponsor = body["addresses"], state.accounts[body["sponsor"]]
    known = next((address for address in addresses if address in state.accounts), None)
    if known is not None or len(set(addresses)) != len(addresses):
        raise ChangeRefused(f"there is an account {str(known)[:80]} already, or one is named twice")
    for address in addresses:
        made = Account(address, 0, state.ledger << 32, 1, sponsor=sponsor.id, sponsored=_SPONSORED_RESERVES)
        state.put(state.accounts, address, made)
        state.put(state.trustlines, (address, usdc), Trustline(0, INT64_MAX, sponsor=sponsor.id))
    grown = replace(sponsor, sponsoring=sponsor.sponsoring + _SPONSORED_RESERVES * len(addresses))
    if grown.balance < grown.reserve:
        raise ChangeRefused("nobody has the XLM to keep so many accounts")
    state.put(state.accounts, sponsor.id, grown)


def _contract(state: State, body: Mapping[str, Any]) -> str:
    contract = str(body.get("contract"))
    if contract not in state.escrows:
        raise ChangeRefused(f"no escrow contract {contract[:80]}")
    return contract
