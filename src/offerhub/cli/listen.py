"""`offerhub listen`: every event of a running service, handed to a server on this machine.

The service keeps an endpoint of kind `PULL` for it while it runs. So what it hands on is what a called endpoint would
get: filtered, in order for each aggregate, with the log, the retries and the re-deliveries of any other.
"""

import contextlib
import http.client
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from cyclopts import Parameter
from rich.console import Console

from offerhub.cli.environment import CommandError
from offerhub.cli.remote import BEGINNING, NOWHERE, Access, Service, listed
from offerhub.cli.webhooks import PATH, endpoint_path, redeliver_all
from offerhub.webhook_endpoints import signing
from offerhub.webhook_endpoints.model import RESPONSE_BYTES_KEPT, WAIT_SECONDS_MAX

ANSWER_SECONDS_MAX: Final = 30
RETRY_SECONDS: Final = 1.0
PACE_SECONDS: Final = 1.0
"""At least so long lies between two questions to the service."""


def listen(
    *,
    forward_to: Annotated[str, Parameter(help="Your server, such as http://localhost:3000/hook.")],
    events: Annotated[str | None, Parameter(help="Which events, with commas: `order.*,user.created`.")] = None,
    begin: Annotated[str, Parameter(name="--from")] = "now",
    access: Access = NOWHERE,
) -> None:
    """Hand every event to a server on this machine, signed, until Ctrl-C.

    While your server does not answer at all, the event is tried again each second. What it answers with another
    status than 200 to 299 is tried again as at any endpoint: after 5 s, 5 min, and so on. In between,
    `offerhub webhooks redeliver` sends it again at once.

    Parameters
    ----------
    begin
        `now`, `beginning`, a time such as 2026-11-22T10:00:00Z, or the id of an event: begin right behind it.
    """
    target = urlsplit(forward_to)
    if target.scheme not in ("http", "https") or not target.hostname:
        raise CommandError(f"{forward_to!r} is not a URL such as http://localhost:3000/hook")
    service = access.service()
    console = Console(stderr=True)
    with _session(service, events) as (endpoint_id, secret):
        print(f"endpoint: {endpoint_id}")
        print(f"secret: {secret}")
        print(f"forwarding to {forward_to}; Ctrl-C ends it", flush=True)
        if begin != "now":
            queued = sum(redeliver_all(service, endpoint_id, _since(service, begin)))
            print(f"{queued} earlier events", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            _forward(service, endpoint_id, secret, forward_to, console)


@contextlib.contextmanager
def _session(service: Service, events: str | None) -> Iterator[tuple[str, str]]:
    """An endpoint for as long as we run: its id and secret."""
    types = listed(events)
    body = {"kind": "PULL", "description": "offerhub listen", **({"eventTypes": types} if types else {})}
    made = service.ask("POST", PATH, body=body)["data"]
    try:
        yield made["id"], made["secret"]
    finally:
        # A service that is gone by now deletes it a day later.
        with contextlib.suppress(CommandError, SystemExit):
            service.ask("DELETE", endpoint_path(made["id"]))


def _since(service: Service, begin: str) -> dict[str, Any]:
    """Which events `--from` asks for."""
    if begin == "beginning":
        return {"since": BEGINNING, "only": "all"}
    if begin.startswith("evt_"):
        return {"since": BEGINNING, "only": "all", "cursor": begin}
    try:
        moment = datetime.fromisoformat(begin)
    except ValueError as error:
        raise CommandError(f"{begin!r} is neither now, beginning, a time nor the id of an event") from error
    return {"since": (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat(), "only": "all"}


def _forward(service: Service, endpoint_id: str, secret: str, target: str, console: Console) -> None:
    results: list[dict[str, Any]] = []
    asked_at = 0.0
    while True:
        # Many events one by one must not spend the key's allowance of requests.
        time.sleep(max(asked_at + PACE_SECONDS - time.monotonic(), 0.0))
        asked_at = time.monotonic()
        body = {"results": results, "waitSeconds": WAIT_SECONDS_MAX}
        try:
            found = service.ask("POST", f"{endpoint_path(endpoint_id)}/fetch", body=body)["data"]["deliveries"]
        except CommandError as error:
            # The results are told again: the service takes each once.
            console.print(f"{error}", markup=False, highlight=False)
            time.sleep(RETRY_SECONDS)
            continue
        results = [_deliver(one, secret, target, console) for one in found]


def _deliver(one: dict[str, Any], secret: str, target: str, console: Console) -> dict[str, Any]:
    """Hand one event on, until there is an answer."""
    body = one["body"].encode()
    told_at = 0.0
    while True:
        moment = datetime.now(UTC)
        headers = signing.headers(one["eventId"], moment, body, [signing.read(secret)])
        began = time.monotonic()
        try:
            status, answered, text = _post(target, headers, body)
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() - told_at > ANSWER_SECONDS_MAX or not told_at:
                console.print(f"{target} does not answer ({error}); trying on", markup=False, highlight=False)
                told_at = time.monotonic()
            time.sleep(RETRY_SECONDS)
            continue
        took_ms = round((time.monotonic() - began) * 1000)
        print(f"{moment:%H:%M:%S} {one['eventType']} {one['eventId']} -> {status} ({took_ms} ms)", flush=True)
        return {
            "deliveryId": one["deliveryId"],
            "attempt": one["attempt"],
            "url": target,
            "requestHeaders": headers,
            "responseStatus": status,
            "responseHeaders": answered,
            "responseBody": text,
            "durationMs": took_ms,
        }


def _post(target: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], str]:
    parts = urlsplit(target)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS_MAX)
    with contextlib.closing(connection):
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read(RESPONSE_BYTES_KEPT).decode("utf-8", "replace").replace("\x00", "\ufffd")
        kept = [(name.lower(), value[:500].replace("\x00", "")) for name, value in answer.getheaders()[:50]]
        return answer.status, dict(kept), text
