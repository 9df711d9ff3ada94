"""`offerhub reconcile` and `offerhub stuck`: what differs, and what is past its time, at a running service."""

import json
import sys
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from offerhub.cli.remote import LISTED_MAX, NOWHERE, Access, AsJson
from offerhub.cli.tables import print_list

_FINDINGS: Final = "/admin/reconciliation/findings"

Status = Literal["OPEN", "ACKNOWLEDGED", "RESOLVED"]
FindingId = Annotated[str, Parameter(help="`fnd_…`, as `offerhub reconcile findings` shows it.")]
Reason = Annotated[
    str, Parameter(help="What you know about it, or what you have done. It goes into the audit trail.")
]


def run(job: str, /, *, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Run a reconciliation job now. A worker takes it in a moment; `offerhub reconcile runs` tells what came of it.

    Parameters
    ----------
    job
        `sync-topups`, `sync-withdrawals`, `sync-escrows`, `check-missed-deposits`, …
    """
    told = access.service().ask("POST", f"/admin/reconciliation/{job}/run")["data"]
    print(json.dumps(told, indent=2) if as_json else f"{told['id']} {told['status']}")


def runs(*, job: str | None = None, limit: int = 20, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """List the latest runs of reconciliation jobs.

    Parameters
    ----------
    job
        Only the runs of this job.
    limit
        How many at most.
    """
    found = list(
        access.service().items("/admin/reconciliation/runs", query={"job": job}, limit=min(limit, LISTED_MAX))
    )
    if as_json:
        print(json.dumps(found, indent=2))
        return
    numbers = ("checked", "changed", "discrepancies", "errors")
    rows = [
        (
            one["job"],
            _time(one["startedAt"]),
            one["status"],
            *(str(one[name]) for name in numbers),
            one["failure"] or "",
        )
        for one in found
    ]
    print_list(("job", "started", "state", *numbers, "failure"), rows, right=numbers, folded=("failure",))


def findings(
    *,
    status: Annotated[Status | None, Parameter(help="Only those in this state.")] = None,
    every: Annotated[bool, Parameter(name="--all", negative="", help="Those that are resolved as well.")] = False,
    kind: str | None = None,
    marketplace: str | None = None,
    limit: int = 100,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """List what differs: without --status or --all, what is not resolved. Exits with 1 when something is open.

    Parameters
    ----------
    kind
        Only those of this kind, such as `MONEY_MISSING`.
    marketplace
        Only those of this marketplace.
    limit
        How many at most.
    """
    states: list[str | None] = [status] if status else [None] if every else ["OPEN", "ACKNOWLEDGED"]
    service, found = access.service(), list[Any]()
    for state in states:
        query = {"status": state, "kind": kind, "marketplaceId": marketplace}
        found += service.items(_FINDINGS, query=query, limit=min(limit, LISTED_MAX))
    found = found[:limit]
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        rows = []
        for one in found:
            about = f"{one['subjectType']} {one['subjectId']}"
            seen = (_age(one["ageSeconds"]), _time(one["lastSeenAt"]), one["status"])
            rows.append((one["id"], one["kind"], about, one["amount"] or "", *seen))
        print_list(("id", "kind", "about", "amount", "age", "last seen", "state"), rows, right=("amount",))
    if any(one["status"] == "OPEN" for one in found):
        sys.exit(1)


def show(finding_id: FindingId, /, *, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Show one finding, with its evidence and what to do next."""
    one = access.service().ask("GET", f"{_FINDINGS}/{finding_id}")["data"]
    if as_json:
        print(json.dumps(one, indent=2))
        return
    _print_finding(one)


def acknowledge(
    finding_id: FindingId, /, *, reason: Reason, as_json: AsJson = False, access: Access = NOWHERE
) -> None:
    """Say that you look at a finding."""
    _decide(finding_id, "acknowledge", reason, as_json=as_json, access=access)


def resolve(finding_id: FindingId, /, *, reason: Reason, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Say that a finding is dealt with. Nothing else changes."""
    _decide(finding_id, "resolve", reason, as_json=as_json, access=access)


def stuck(
    *,
    kind: Annotated[
        str | None, Parameter(name="--type", help="Only these, such as `Escrow` or `Withdrawal`.")
    ] = None,
    marketplace: str | None = None,
    limit: int = 100,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """List what is stuck: past its time, and not at an end. Exits with 1 when there is something.

    Parameters
    ----------
    marketplace
        Only what belongs to this marketplace.
    limit
        How many at most.
    """
    query = {"type": kind, "marketplaceId": marketplace, "limit": limit}
    told = access.service().ask("GET", "/admin/stuck", query=query)["data"]
    if as_json:
        print(json.dumps(told, indent=2))
    elif told["items"]:
        rows = []
        for one in told["items"]:
            when = "" if one["nextStepAt"] is None else f" ({_time(one['nextStepAt'])})"
            what = (f"{one['type']} {one['id']}", one["state"], _age(one["ageSeconds"]), one["amount"] or "")
            rows.append((*what, one["cause"], one["waitsFor"], one["nextStep"] + when))
        columns = ("what", "state", "for", "amount", "cause", "waits for", "next")
        print_list(columns, rows, right=("amount",), folded=("cause", "waits for", "next"))
        if told["hasMore"]:
            print(f"and more: these are the {len(told['items'])} oldest")
    else:
        print("nothing is stuck")
    if told["items"]:
        sys.exit(1)


def _decide(finding_id: str, move: str, reason: str, *, as_json: bool, access: Access) -> None:
    one = access.service().ask("POST", f"{_FINDINGS}/{finding_id}/{move}", body={"reason": reason})["data"]
    print(json.dumps(one, indent=2) if as_json else f"{one['id']} {one['status']}")


def _print_finding(one: dict[str, Any]) -> None:
    lines = {
        "id": one["id"],
        "kind": one["kind"],
        "about": f"{one['subjectType']} {one['subjectId']} ({one['marketplaceId']})",
        "state": one["status"],
        "amount": one["amount"] or "no money differs",
        "seen": f"{_time(one['firstSeenAt'])} to {_time(one['lastSeenAt'])}, {one['timesSeen']} times",
        "note": one["note"],
        "next": one["nextAction"],
    }
    for name, text in lines.items():
        if text:
            print(f"{name:<9}{text}")
    for name in ("evidence", "resolution"):
        if one[name]:
            print(f"{name}\n{json.dumps(one[name], indent=2)}")


def _time(moment: str | None) -> str:
    return "" if moment is None else moment[:19].replace("T", " ")


def _age(seconds: int) -> str:
    """A span as people say it: its two largest units.

    >>> _age(93_784), _age(59)
    ('1 d 2 h', '59 s')
    """
    parts = []
    for name, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
