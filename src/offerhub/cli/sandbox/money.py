"""Money and time of a running sandbox."""

import re
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from offerhub.cli.remote import AsJson, given
from offerhub.cli.sandbox.client import DEFAULT_URL, Url, ask, refuse
from offerhub.cli.sandbox.show import facts, rows

Memo = Annotated[str | None, Parameter(help="The transaction's memo.")]
MemoType = Literal["text", "id", "hash"]
Shape = Literal["payment", "path", "claimable", "muxed", "call", "native", "impostor"]

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


def state(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show accounts, escrow contracts and totals."""
    found = ask(url, "GET", "/state")
    if as_json:
        facts(found, as_json=True)
        return
    rows("accounts", ["address", "usdc", "xlm", "usdc_authorized"], found.pop("accounts"), as_json=False)
    columns = [
        "address",
        "engagement_id",
        "amount",
        "usdc",
        "approved",
        "disputed",
        "released",
        "resolved",
        "archived",
    ]
    rows("escrow contracts", columns, found.pop("contracts"), as_json=False)
    facts(found, as_json=False)


def info(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show addresses, keys and time: what a service must know to use this sandbox."""
    facts(ask(url, "GET", "/info"), as_json=as_json)


def account(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Open a wallet outside, with a trustline to USDC, and show its keys."""
    facts(ask(url, "POST", "/account", {}), as_json=as_json)


def mint(
    address: str,
    amount: str,
    *,
    memo: Memo = None,
    memo_type: MemoType = "text",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Issue USDC to an address that has a trustline.

    Parameters
    ----------
    address
        The account, G… or M….
    amount
        With at most seven decimals, such as 25.5.
    """
    body = given(address=address, amount=amount, memo=memo, memo_type=memo_type)
    facts(ask(url, "POST", "/mint", body), as_json=as_json)


def pay(
    destination: str,
    amount: str,
    *,
    secret: str | None = None,
    memo: Memo = None,
    memo_type: MemoType = "text",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Pay USDC from a wallet outside, to an account or into a contract.

    Parameters
    ----------
    destination
        The account (G…, M…) or contract (C…).
    amount
        With at most seven decimals, such as 25.5.
    secret
        Whose money it is (S…). Left out: a new wallet is opened and given the amount first.
    """
    if secret is None:
        opened = ask(url, "POST", "/account", {})
        ask(url, "POST", "/mint", {"address": opened["public_key"], "amount": amount})
        secret = opened["secret"]
    body = given(secret=secret, destination=destination, amount=amount, memo=memo, memo_type=memo_type)
    facts(ask(url, "POST", "/pay", body), as_json=as_json)


def credit(
    shape: Shape,
    amount: str,
    /,
    *to: str,
    memo: Memo = None,
    memo_type: MemoType = "text",
    muxed_id: int = 1,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Pay accounts in one of the shapes in which money can arrive, all of them in one transaction.

    Parameters
    ----------
    shape
        payment, path (a path payment), claimable (a claimable balance), muxed (to an M address), call (one contract
        call with a credit for each), native (XLM), impostor (USDC of somebody else).
    amount
        What each account gets.
    to
        The accounts; the same one may be named twice.
    muxed_id
        The number within the M address.
    """
    if not to:
        refuse("name at least one account to pay")
    body = given(shape=shape, amount=amount, to=list(to), memo=memo, memo_type=memo_type, muxed_id=muxed_id)
    facts(ask(url, "POST", "/credit", body), as_json=as_json)


def advance(time: str, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Let time pass, and do everything that falls due in it, in order.

    Parameters
    ----------
    time
        Seconds, or with a unit: 30s, 5m, 2h, 15d.
    """
    facts(ask(url, "POST", "/advance", {"seconds": _seconds(time)}), as_json=as_json)


def clock(
    mode: Literal["real", "scaled", "stepped"] | None = None,
    *,
    factor: float = 1.0,
    ledger_seconds: float | None = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show the clock, or let it run differently from now on.

    Parameters
    ----------
    mode
        With the machine, so many times faster, or only when it is put forward.
    factor
        How much faster a scaled clock runs.
    ledger_seconds
        Seconds between two ledgers; 0 closes one on demand only.
    """
    body: dict[str, Any] = given(mode=mode, ledger_seconds=ledger_seconds)
    facts(ask(url, "POST", "/clock", body | {"factor": factor}), as_json=as_json)


def close(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Close a ledger now."""
    facts(ask(url, "POST", "/close", {}), as_json=as_json)


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        refuse(f"{text[:40]} is no length of time; say 90, 30s, 5m, 2h or 15d")
    return float(match[1]) * _UNITS[match[2] or "s"]
