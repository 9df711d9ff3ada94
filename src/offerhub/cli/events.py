"""`offerhub events`: what happens at a running service, as it happens."""

import contextlib
import http.client
import json
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

from cyclopts import Parameter

from offerhub.cli.environment import CommandError
from offerhub.cli.remote import BEGINNING, NOWHERE, Access, Service, refuse

SILENCE_SECONDS_MAX: Final = 90
"""A stream shows a sign of life every 30 s; one that is silent for longer has been lost."""
RETRY_SECONDS: Final = 2.0
BUSY: Final = (429, 502, 503, 504)
"""Statuses of a service that is asked again."""


def tail(
    *,
    begin: Annotated[str, Parameter(name="--from")] = "now",
    types: Annotated[
        str | None, Parameter(name="--type", help="Which, with commas: `order.*,topup.succeeded`.")
    ] = None,
    user: Annotated[str | None, Parameter(help="Only what concerns this user.")] = None,
    limit: Annotated[int | None, Parameter(help="End after so many; without it, with Ctrl-C.")] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print each event as a line of JSON.")
    ] = False,
    access: Access = NOWHERE,
) -> None:
    """Print events as they happen, each once, until Ctrl-C. A connection that is lost is made anew where it ended.

    Parameters
    ----------
    begin
        `now`, `beginning`, a time such as 2026-11-22T10:00:00Z, or the id of an event: begin right behind it.
    """
    service = access.service()
    found = follow(service, {"types": types, "userId": user}, _cursor(service, begin))
    with contextlib.suppress(KeyboardInterrupt):
        for number, event in enumerate(found, 1):
            print(json.dumps(event, separators=(",", ":")) if as_json else _line(event), flush=True)
            if number == limit:
                return


def _cursor(service: Service, begin: str) -> str | None:
    """The cursor to begin behind. Raises CommandError for one that the log does not know."""
    if begin == "now":
        return None
    cursor = BEGINNING if begin == "beginning" else begin
    # The stream begins with now behind a cursor that it does not know; the log refuses it.
    service.ask("GET", "/events/log", query={"cursor": cursor, "limit": 1})
    return cursor


def _line(event: dict[str, Any]) -> str:
    payload = json.dumps(event["payload"], separators=(", ", ": "))
    return f"{event['occurredAt']}  {event['eventType']:<28} {event['aggregateId']}  {payload}"


def follow(service: Service, query: dict[str, str | None], cursor: str | None) -> Iterator[dict[str, Any]]:
    """Every event behind a cursor, without end. What the service refuses ends the program with 1, in its words."""
    while True:
        try:
            for last, event in _stream(service, query, cursor):
                cursor = last or cursor
                if event is not None:
                    yield event
        except (OSError, http.client.HTTPException) as error:
            print(f"offerhub: the stream is lost ({error}); going on where it ended", file=sys.stderr)
        time.sleep(RETRY_SECONDS)


def _stream(
    service: Service, query: dict[str, str | None], cursor: str | None
) -> Iterator[tuple[str | None, dict[str, Any] | None]]:
    """The frames of one connection: cursor, and event; a frame that is no event has none."""
    headers = {"accept": "text/event-stream", **({} if cursor is None else {"last-event-id": cursor})}
    with service.request(
        "GET", "/events", query=query, headers=headers, silence_seconds_max=SILENCE_SECONDS_MAX
    ) as answer:
        if answer.status in BUSY:
            raise http.client.HTTPException(f"the service answered {answer.status}")
        if answer.status != 200:
            refuse(json.loads(answer.read()), answer.status)
        fields: dict[str, str] = {}
        for raw in answer:
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            if "data" in fields:
                told = json.loads(fields["data"])
                yield (fields["id"], told) if "id" in fields else (_farewell(fields, told), None)
            fields = {}


def _farewell(fields: dict[str, str], told: dict[str, Any]) -> str | None:
    """Where a stream that the service ends goes on; None for a sign of life."""
    if fields.get("event") != "end":
        return None
    if told["reason"] == "revoked":
        raise CommandError("the key may not read events any more.")
    cursor: str | None = told.get("cursor")
    return cursor
