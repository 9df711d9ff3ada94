"""`offerhub queues` and `offerhub dlq`: the queues of a running service, and its jobs that failed for good."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from offerhub.cli.environment import CommandError
from offerhub.cli.remote import LISTED_MAX, NOWHERE, Access, AsJson, Limit, Service
from offerhub.cli.tables import Cell, print_list
from offerhub.operations.needs import needs

COUNTED: Final = ("waiting", "prioritized", "active", "delayed", "completed", "failed")


def show_queues(
    *,
    check: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """Show how many jobs of each queue are where, how old the oldest is, and how many processes take them.

    Parameters
    ----------
    check
        Exit with 1 when a queue needs somebody: more than 1000 jobs wait, more than 100 failed for good, nobody takes
        its jobs, or it is paused.
    """
    found: dict[str, dict[str, Any]] = access.service().ask("GET", "/admin/queues")["data"]["queues"]
    needed = {name: list(_needs(queue)) for name, queue in found.items()}
    if as_json:
        print(json.dumps({name: {**queue, "needs": needed[name]} for name, queue in found.items()}, indent=2))
    else:
        _print_queues(found, needed)
    if check and any(needed.values()):
        sys.exit(1)


def _needs(queue: Mapping[str, Any]) -> Iterator[str]:
    return needs(
        waiting=queue["waiting"] + queue["prioritized"] + queue["notHandedOver"],
        dead_letters=queue["deadLetters"],
        workers=queue["workers"],
        paused=queue["paused"],
    )


def _print_queues(found: Mapping[str, Mapping[str, Any]], needed: Mapping[str, list[str]]) -> None:
    numbers = ("not handed over", *COUNTED, "dead letters", "oldest", "workers")
    rows: list[list[Cell]] = []
    for name, queue in found.items():
        oldest = queue["oldestSeconds"]
        counts = (queue["notHandedOver"], *(queue[state] for state in COUNTED), queue["deadLetters"])
        told = "" if oldest is None else f"{oldest:.1f} s", "?" if queue["workers"] is None else str(queue["workers"])
        rows.append([name, *map(str, counts), *told, Text(", ".join(needed[name]), style="yellow")])
    print_list(("queue", *numbers, "needs"), rows, right=numbers, folded=("needs",))


def list_letters(
    *,
    queue: str | None = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """List jobs that failed for good, the one that failed last first.

    Parameters
    ----------
    queue
        Only those of this queue.
    """
    found = list(_letters(access.service(), queue, limit))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    rows = []
    for one in found:
        reason = one["reason"].splitlines()[0][:120] if one["reason"] else ""
        rows.append((one["id"], one["job"], str(one["attempts"]), one["failedAt"][:19], reason))
    print_list(("id", "job", "attempts", "failed", "reason"), rows, right=("attempts",), folded=("reason",))


def show_letter(letter: str, /, *, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Show one of them: what it was given, every attempt that failed, and where the last one did.

    Parameters
    ----------
    letter
        Its id, such as sagas.outbox-17.
    """
    one = access.service().ask("GET", _path(letter))["data"]
    if as_json:
        print(json.dumps(one, indent=2))
        return
    console = Console()
    for label, told in (
        ("id", one["id"]),
        ("job", f"{one['queue']} / {one['job']}"),
        ("created", one["createdAt"]),
        ("failed", f"{one['failedAt']} after {one['attempts']} attempts"),
        ("payload", json.dumps(one["payload"])),
        ("reason", one["reason"]),
    ):
        console.print(f"{label:>8}  {told}", markup=False, highlight=False)
    table = Table(Column("attempt", justify="right"), "failed", "worker", "reason")
    for attempt in one["history"]:
        told = escape(attempt["reason"][:200])
        table.add_row(str(attempt["attempt"]), attempt["failedAt"], escape(attempt["worker"]), told)
    console.print(table)
    console.print(one["trace"].rstrip(), markup=False, highlight=False)


All = Annotated[bool, Parameter(name="--all", negative="", help="All there are, or all of --queue.")]


def retry(
    *letters: str, every: All = False, queue: str | None = None, as_json: AsJson = False, access: Access = NOWHERE
) -> None:
    """Let failed jobs run again, with all their attempts. Mend the cause first; every job is safe to run twice.

    Exits with 1 at the first that cannot be moved, in the service's words; those before it have been.

    Parameters
    ----------
    letters
        Their ids.
    queue
        With --all: only those of this queue.
    """
    _decide("POST", "/retry", letters, every=every, queue=queue, as_json=as_json, access=access)


def discard(
    *letters: str, every: All = False, queue: str | None = None, as_json: AsJson = False, access: Access = NOWHERE
) -> None:
    """Give failed jobs up: they never run again.

    Exits with 1 at the first that cannot be moved, in the service's words; those before it have been.

    Parameters
    ----------
    letters
        Their ids.
    queue
        With --all: only those of this queue.
    """
    _decide("DELETE", "", letters, every=every, queue=queue, as_json=as_json, access=access)


def _decide(
    method: str,
    action: str,
    letters: tuple[str, ...],
    *,
    every: bool,
    queue: str | None,
    as_json: bool,
    access: Access,
) -> None:
    if bool(letters) == every:
        raise CommandError("name the dead letters, or give --all.")
    if queue is not None and not every:
        raise CommandError("--queue goes with --all; an id names its queue already.")
    service = access.service()
    chosen = [one["id"] for one in _letters(service, queue, LISTED_MAX)] if every else letters
    moved = []
    for letter in chosen:
        moved.append(service.ask(method, _path(letter) + action)["data"])
        if not as_json:
            print(f"{moved[-1]['status'].lower()} {letter}", flush=True)
    if as_json:
        print(json.dumps(moved, indent=2))


def _letters(service: Service, queue: str | None, limit: int) -> Iterator[Any]:
    """The newest letters; the service gives fifty at a time at most."""
    return service.items("/admin/dlq", query={"queue": queue}, limit=limit, page=50)


def _path(letter: str) -> str:
    return f"/admin/dlq/{quote(letter, safe='')}"
