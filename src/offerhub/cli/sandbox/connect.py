"""Airtm's Connect in a running sandbox: its users' wallets, consents and codes."""

from typing import Literal

from cyclopts import App

from offerhub.cli.remote import AsJson, given
from offerhub.cli.sandbox.client import DEFAULT_URL, Url, ask, refuse
from offerhub.cli.sandbox.show import facts, rows

Kyc = Literal["verified", "in_progress", "pending_review", "unverified"]

connect = App(
    name="connect",
    help="Airtm's Connect, in a sandbox started with --connect: users' wallets, consents, transactions and codes.",
)


@connect.command
def wallet(
    email: str | None = None,
    /,
    *,
    give: str | None = None,
    kyc: Kyc | None = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show the wallets of Airtm's users, or give a user USDC or another result of Airtm's check.

    Parameters
    ----------
    email
        Whose. Left out: all are shown.
    give
        How much USDC, such as 25.50; it is issued on the ledger.
    kyc
        The result.
    """
    if email is None:
        found = ask(url, "GET", "/airtm/connect/wallets")["wallets"]
        rows("wallets", ["email", "balance", "kyc"], found, as_json=as_json)
        return
    body = given(email=email, give=give, kyc=kyc)
    facts(ask(url, "POST", "/airtm/connect/wallets", body), as_json=as_json)


@connect.command
def consent(
    authorize_url: str,
    email: str,
    decision: Literal["allow", "deny"] = "allow",
    /,
    *,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Decide in a user's place, without a browser, and show where the browser would go.

    Parameters
    ----------
    authorize_url
        The whole address to which the client sends the browser.
    email
        Who decides.
    decision
        allow or deny.
    """
    body = {"url": authorize_url, "email": email, "decision": decision}
    facts(ask(url, "POST", "/airtm/connect/consent", body), as_json=as_json)


@connect.command
def transaction(
    action: Literal["list", "confirm", "fail"] = "list",
    which: str | None = None,
    /,
    *,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show the transactions with the codes that their users got, or do with one what its user or Airtm would.

    Parameters
    ----------
    action
        list, confirm (with the right code), fail.
    which
        Its id or the partner's reference.
    """
    found = ask(url, "GET", "/airtm/connect/transactions")["transactions"]
    chosen = [one for one in found if which in (None, one["id"], one.get("partnerReference"))]
    if action == "list":
        columns = ["id", "partnerReference", "email", "scope", "amountToSend", "status", "twoFactorCode"]
        rows("transactions", columns, chosen, as_json=as_json)
    elif which is None or not chosen:
        refuse("say which one, by its id or reference" if which is None else f"there is no transaction {which}")
    else:
        path = f"/airtm/connect/transactions/{chosen[0]['id']}"
        facts(ask(url, "POST", path, {"action": action}), as_json=as_json)


@connect.command
def strays(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show the payments to Airtm's account that credited nobody, and why."""
    found = ask(url, "GET", "/airtm/connect/strays")["strays"]
    rows("strays", ["hash", "amount", "memo", "reason"], found, as_json=as_json)


@connect.command
def grant(
    action: Literal["list", "revoke"] = "list",
    which: str | None = None,
    /,
    *,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show what users have allowed, or revoke it with all its tokens.

    Parameters
    ----------
    action
        list or revoke.
    which
        The id of the one to revoke.
    """
    if action == "list":
        found = ask(url, "GET", "/airtm/connect/grants")["grants"]
        rows("grants", ["id", "email", "scopes", "revoked"], found, as_json=as_json)
    elif which is None:
        refuse("say which one, by its id")
    else:
        facts(ask(url, "DELETE", f"/airtm/connect/grants/{which}"), as_json=as_json)


@connect.command
def redirect(*redirect_uri: str, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Let the client of Connect send browsers back to these addresses, and to no other.

    Parameters
    ----------
    redirect_uri
        Such as http://127.0.0.1:3000/callback.
    """
    facts(ask(url, "POST", "/airtm/connect/client", {"redirect_uris": list(redirect_uri)}), as_json=as_json)
