"""Airtm's side of payins and payouts in a running sandbox."""

from typing import Any, Literal

from offerhub.cli.remote import AsJson, given
from offerhub.cli.sandbox.client import DEFAULT_URL, Url, ask, refuse
from offerhub.cli.sandbox.show import facts, rows

PayinAction = Literal["list", "process", "confirm", "fail", "cancel"]
PayoutAction = Literal["list", "process", "wait", "pend", "odd", "complete", "fail", "cancel", "refund"]


def payin(
    action: PayinAction = "list",
    payin: str | None = None,
    /,
    *,
    fee: str | None = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show the payins, or do with one what its payer and Airtm would.

    Parameters
    ----------
    action
        list, process (the payer has confirmed, it is under way), confirm, fail, cancel.
    payin
        Its id or the enterprise's code for it.
    fee
        What Airtm keeps of a confirmed one, such as 0.25.
    """
    columns = ["id", "code", "status", "amount", "netAmount", "airtmUserEmail", "createdAt"]
    _list_or_move("payins", action, payin, given(fee=fee), columns, url, as_json=as_json)


def payout(
    action: PayoutAction = "list",
    payout: str | None = None,
    /,
    *,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show the payouts, or do with one what Airtm and its recipient would.

    Parameters
    ----------
    action
        list, process, wait (for the recipient), pend, odd (a status that nobody knows), complete, fail, cancel,
        refund (give back a completed one).
    payout
        Its id or the enterprise's code for it.
    """
    columns = ["id", "code", "status", "amount", "netAmount", "airtmUserEmail", "createdAt"]
    _list_or_move("payouts", action, payout, {}, columns, url, as_json=as_json)


def balance(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show the enterprise's balance at Airtm."""
    facts(ask(url, "GET", "/airtm/balance"), as_json=as_json)


def _list_or_move(
    kind: str,
    action: str,
    which: str | None,
    more: dict[str, Any],
    columns: list[str],
    url: str,
    *,
    as_json: bool,
) -> None:
    found: list[dict[str, Any]] = ask(url, "GET", f"/airtm/{kind}")[kind]
    if action == "list":
        shown = [one for one in found if which in (None, one["id"], one.get("code"))]
        rows(kind, columns, shown, as_json=as_json)
        return
    chosen = next((one["id"] for one in found if which in (one["id"], one.get("code"))), None)
    if chosen is None:
        refuse(f"{kind} holds none with the id or code {which}" if which else "say which one, by its id or code")
    facts(ask(url, "POST", f"/airtm/{kind}/{chosen}", {"action": action, **more}), as_json=as_json)
