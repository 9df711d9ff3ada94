"""Airtm's webhooks in a running sandbox."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from offerhub.cli.remote import AsJson, given
from offerhub.cli.sandbox.client import DEFAULT_URL, Url, ask
from offerhub.cli.sandbox.show import facts, rows

webhooks = App(
    name="webhooks", help="Airtm's webhooks: `set` where they go, `list` what was sent, `replay` what was not."
)


@webhooks.command(name="set")
def set_endpoint(
    *endpoint: str,
    secret: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    event: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    bare: Annotated[bool, Parameter(negative="")] = False,
    early_seconds: float = 0.0,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Send webhooks to these addresses on this machine from now on, and to no other. None: send none.

    Parameters
    ----------
    endpoint
        Such as http://127.0.0.1:3000/webhooks/airtm.
    secret
        Signs (whsec_…); give two for the time of a rotation, the new one first. Left out: the sandbox's own.
    event
        Only events of this type, such as payout.completed; may be given several times.
    bare
        Send the object alone, without type and data.
    early_seconds
        Send a change so long before it can be read.
    """
    more = given(secrets=list(secret) or None, types=list(event) or None)
    endpoints = [{"url": one, "bare": bare, "early_seconds": early_seconds, **more} for one in endpoint]
    _show(ask(url, "POST", "/airtm/webhooks", {"endpoints": endpoints}), as_json=as_json)


@webhooks.command
def endpoints(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show where webhooks go, with what secrets, and whether they are switched off."""
    _show(ask(url, "GET", "/airtm/webhooks"), as_json=as_json)


@webhooks.command(name="list")
def list_messages(*, attempts: bool = False, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show the messages and what became of them, or every attempt to deliver one.

    Parameters
    ----------
    attempts
        Show the attempts, with the answers.
    """
    if attempts:
        found = ask(url, "GET", "/airtm/webhooks/attempts")["attempts"]
        rows("attempts", ["message", "type", "attempt", "status", "error", "delivered"], found, as_json=as_json)
    else:
        found = ask(url, "GET", "/airtm/webhooks/messages")["messages"]
        rows("messages", ["id", "type", "state", "attempts"], found, as_json=as_json)


@webhooks.command
def replay(message: str, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Send a message again, under its own id.

    Parameters
    ----------
    message
        Its id, msg_….
    """
    facts(ask(url, "POST", f"/airtm/webhooks/messages/{message}/replay", {}), as_json=as_json)


@webhooks.command
def recover(*, since: float = 0.0, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Send every message again whose attempts have all failed.

    Parameters
    ----------
    since
        Only those made after this moment, in Unix seconds of the sandbox's clock.
    """
    facts(ask(url, "POST", "/airtm/webhooks/recover", {"since": since}), as_json=as_json)


@webhooks.command(name="secret")
def change_secret(
    action: Literal["rotate", "retire"],
    endpoint: str = "ep_1",
    *,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Give an endpoint a new secret (both sign), or retire the old one.

    Parameters
    ----------
    action
        rotate or retire.
    endpoint
        Its id, as `endpoints` shows it.
    """
    _show(ask(url, "POST", f"/airtm/webhooks/endpoints/{endpoint}/{action}", {}), as_json=as_json)


@webhooks.command
def enable(endpoint: str = "ep_1", *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Switch an endpoint on again that has failed for five days.

    Parameters
    ----------
    endpoint
        Its id, as `endpoints` shows it.
    """
    _show(ask(url, "POST", f"/airtm/webhooks/endpoints/{endpoint}/enable", {}), as_json=as_json)


def _show(answer: dict[str, list[dict[str, object]]], *, as_json: bool) -> None:
    columns = ["id", "url", "secrets", "types", "bare", "early_seconds", "disabled"]
    rows("endpoints", columns, answer["endpoints"], as_json=as_json)
