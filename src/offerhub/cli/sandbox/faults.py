"""What is to go wrong in a running sandbox."""

from typing import Literal

from cyclopts import App

from offerhub.cli.remote import AsJson, given
from offerhub.cli.sandbox.client import DEFAULT_URL, Url, ask
from offerhub.cli.sandbox.show import facts, rows

Face = Literal["horizon", "rpc", "trustless_work", "airtm", "airtm_connect", "webhooks", "chain"]

fault = App(
    name="fault", help="What is to go wrong: `add` a fault, `list` them and how often they fired, `clear` them."
)


@fault.command
def add(
    face: Face,
    kind: str,
    *,
    route: str | None = None,
    method: str | None = None,
    times: int | None = None,
    nth: int | None = None,
    probability: float | None = None,
    status: int | None = None,
    seconds: float | None = None,
    retry_after: int | None = None,
    field: str | None = None,
    value: str | None = None,
    code: str | None = None,
    then: Literal["success", "never"] | None = None,
    target: str | None = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Put a fault in force until it is cleared, or has fired so many times.

    Parameters
    ----------
    face
        Where it strikes.
    kind
        What goes wrong; `offerhub sandbox fault kinds` lists them.
    route
        A regular expression for the path within the face, such as /payouts, or for the type of a webhook.
    method
        Only requests with this HTTP method.
    times
        Fire at most so often.
    nth
        Fire from this matching call on.
    probability
        Fire with this probability (0 to 1), which follows from the seed.
    status
        The HTTP status of the answer.
    seconds
        How long to wait, or how far to shift a time.
    retry_after
        The seconds in the header Retry-After of a 429.
    field
        The field of an answer that is wrong.
    value
        What the kind asks for, such as the new value of that field.
    code
        A transaction's result code, such as tx_bad_seq.
    then
        What becomes of the transaction meanwhile.
    target
        The account or contract that is meant.
    """
    number = int(value) if kind == "fee_surge" and value is not None and value.isdecimal() else value
    when = given(route=route, method=method, times=times, nth=nth, probability=probability)
    how = given(status=status, seconds=seconds, retry_after=retry_after, field=field, value=number)
    more = given(code=code, then=then, target=target)
    facts(ask(url, "POST", "/faults", {"face": face, "kind": kind, **when, **how, **more}), as_json=as_json)


@fault.command(name="list")
def list_faults(*, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show the faults in force, how often each has matched a call and how often it has fired."""
    found = ask(url, "GET", "/faults")["faults"]
    rows("faults", ["id", "face", "kind", "route", "times", "by", "seen", "fired"], found, as_json=as_json)


@fault.command
def clear(fault_id: int | None = None, /, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Take a fault away, or all of them.

    Parameters
    ----------
    fault_id
        Its number. Left out: all.
    """
    path = "/faults" if fault_id is None else f"/faults/{fault_id}"
    facts(ask(url, "DELETE", path), as_json=as_json)


@fault.command
def kinds(face: Face | None = None, *, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show every kind of fault, and what it does.

    Parameters
    ----------
    face
        Only those that strike there.
    """
    found = [one for one in ask(url, "GET", "/faults/kinds")["kinds"] if face is None or face in one["faces"]]
    rows("kinds of faults", ["kind", "faces", "words"], found, as_json=as_json)
