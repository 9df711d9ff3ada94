"""`offerhub webhooks`: where a running service sends events, what it sent and what came back, and sending again."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from offerhub.cli.remote import NOWHERE, Access, AsJson, Limit, Service, given, listed
from offerhub.cli.tables import print_list

webhooks = App(
    name="webhooks",
    help="Where events are sent: `create`, `endpoints`, `update`, `delete`, `rotate-secret`, `test`; what was sent: "
    "`deliveries`, `show`, `redeliver`.",
)

PATH: Final = "/webhook-endpoints"
EndpointId = Annotated[str, Parameter(help="`whe_…`, as `offerhub webhooks endpoints` shows it.")]
Events = Annotated[str | None, Parameter(help="Which events, with commas: `order.*,withdrawal.completed`.")]


def endpoint_path(endpoint_id: str) -> str:
    """Where an endpoint is at the service."""
    return f"{PATH}/{endpoint_id}"


def redeliver_all(service: Service, endpoint_id: str, wanted: dict[str, Any]) -> Iterator[int]:
    """Send again what happened in a time, batch after batch; yields how many deliveries each has queued."""
    cursor: str | None = None
    while True:
        body = {**wanted, **({"cursor": cursor} if cursor else {})}
        found = service.ask("POST", f"{endpoint_path(endpoint_id)}/redeliver", body=body)["data"]
        yield found["queued"]
        cursor = found["nextCursor"]
        if cursor is None:
            return


@webhooks.command
def create(
    target: str,
    /,
    *,
    events: Events = None,
    description: str | None = None,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """Have events sent to an address, and print the secret that signs them. It is not shown again.

    Parameters
    ----------
    target
        The address, such as https://example.com/webhooks/offerhub.
    description
        What to call it in lists.
    """
    body = given(url=target, eventTypes=listed(events), description=description)
    made = access.service().ask("POST", PATH, body=body)["data"]
    if as_json:
        print(json.dumps(made, indent=2))
        return
    _facts(made, ("id", "url", "eventTypes"))
    # Not through rich: a secret is never wrapped.
    print(f"secret: {made['secret']}")
    print("Keep it now: it is not shown again.")


@webhooks.command
def endpoints(*, limit: Limit = 100, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """List the endpoints, newest first."""
    found = list(access.service().items(PATH, limit=limit))
    columns = ("id", "status", "disabledReason", "failingSince", "url", "eventTypes", "description")
    _rows(columns, found, as_json=as_json)


@webhooks.command
def update(
    endpoint_id: EndpointId,
    /,
    *,
    target: str | None = None,
    events: Events = None,
    description: str | None = None,
    enabled: bool | None = None,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """Change an endpoint; what is not named stays.

    Parameters
    ----------
    target
        The new address.
    description
        What to call it in lists.
    enabled
        `--no-enabled` stops sending, `--enabled` begins again.
    """
    body = given(url=target, eventTypes=listed(events), description=description, enabled=enabled)
    found = access.service().ask("POST", endpoint_path(endpoint_id), body=body)["data"]
    _facts(found, found, as_json=as_json)


@webhooks.command
def delete(endpoint_id: EndpointId, /, *, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Delete an endpoint and its secrets."""
    found = access.service().ask("DELETE", endpoint_path(endpoint_id))["data"]
    print(json.dumps(found, indent=2) if as_json else f"deleted {endpoint_id}")


@webhooks.command
def rotate_secret(
    endpoint_id: EndpointId,
    /,
    *,
    overlap_seconds: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """Give an endpoint a new secret, and print it. It is not shown again.

    Parameters
    ----------
    overlap_seconds
        How long the old one signs as well; without it a day.
    """
    body = given(overlapSeconds=overlap_seconds)
    made = access.service().ask("POST", f"{endpoint_path(endpoint_id)}/rotate-secret", body=body)["data"]
    if as_json:
        print(json.dumps(made, indent=2))
        return
    print(f"secret: {made['secret']}")
    print(f"The one before it signs as well until {made['previousSecretExpiresAt']}.")


@webhooks.command(name="test")
def send_test(endpoint_id: EndpointId, /, *, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Send the event `webhook.test` to an endpoint, whatever its filter."""
    found = access.service().ask("POST", f"{endpoint_path(endpoint_id)}/test")["data"]
    _facts(found, ("id", "eventId", "status"), as_json=as_json)


@webhooks.command
def deliveries(
    endpoint_id: EndpointId,
    /,
    *,
    status: Literal["PENDING", "DELIVERED", "FAILED", "CANCELED"] | None = None,
    event: Annotated[str | None, Parameter(help="Only of events of this type.")] = None,
    since: Annotated[
        str | None, Parameter(help="Only those queued from then on, such as 2026-11-22T10:00:00Z.")
    ] = None,
    until: Annotated[str | None, Parameter(help="Only those queued before then.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """List what was sent to an endpoint, newest first.

    Parameters
    ----------
    status
        Only those in this state.
    """
    query = {"status": status, "eventType": event, "since": since, "until": until}
    found = list(access.service().items(f"{endpoint_path(endpoint_id)}/deliveries", query=query, limit=limit))
    columns = ("id", "eventType", "aggregateId", "status", "attempts", "createdAt", "nextAttemptAt")
    _rows(columns, found, as_json=as_json)


@webhooks.command
def show(endpoint_id: EndpointId, delivery_id: str, /, *, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Show a delivery: what was sent, and what came back at each attempt.

    Parameters
    ----------
    delivery_id
        `whd_…`, as `offerhub webhooks deliveries` shows it.
    """
    found = access.service().ask("GET", f"{endpoint_path(endpoint_id)}/deliveries/{delivery_id}")["data"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    _facts(found, [name for name in found if name != "attemptLog"])
    columns = ("number", "outcome", "startedAt", "durationMs", "responseStatus", "error", "responseBody")
    _rows(columns, found["attemptLog"], as_json=False)


@webhooks.command
def redeliver(
    endpoint_id: EndpointId,
    delivery_id: str | None = None,
    /,
    *,
    since: Annotated[str | None, Parameter(help="Everything that happened from then on.")] = None,
    until: Annotated[str | None, Parameter(help="And before then.")] = None,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """Send one delivery again, or with --since what happened in a time and has not arrived.

    Parameters
    ----------
    delivery_id
        `whd_…`, as `offerhub webhooks deliveries` shows it.
    every
        Also what has arrived.
    """
    service = access.service()
    if delivery_id is not None:
        path = f"{endpoint_path(endpoint_id)}/deliveries/{delivery_id}/redeliver"
        _facts(service.ask("POST", path)["data"], ("id", "eventId", "status"), as_json=as_json)
        return
    wanted = given(since=since, until=until, only="all" if every else "failed")
    queued = sum(redeliver_all(service, endpoint_id, wanted))
    print(json.dumps({"queued": queued}) if as_json else f"{queued} deliveries will be sent again")


def _facts(found: dict[str, Any], names: Sequence[str] | dict[str, Any], *, as_json: bool = False) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for name in names:
        print(f"{name}: {_text(found.get(name))}")


def _rows(columns: Sequence[str], found: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print_list(columns, [[_text(row.get(column)) for column in columns] for row in found])


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
