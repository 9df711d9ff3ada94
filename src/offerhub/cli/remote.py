"""The HTTP API of a running service, as the commands use it: where it is, with which key, and one way to ask.

Both are looked for in this order: the flags, the environment, `.env` in the current directory, and
`~/.offerhub/config.json`. Where nothing names a service, it is the one on this machine.
"""

import contextlib
import http.client
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import urlencode, urlsplit

from cyclopts import Parameter
from cyclopts.validators import Number

from offerhub.cli.environment import CommandError, environment
from offerhub.settings import SettingsError
from offerhub.settings.catalogue import OFFERHUB_API_KEY, OFFERHUB_API_URL, PORT
from offerhub.settings.variable import Reader

URL_VARIABLE: Final = OFFERHUB_API_URL.name
KEY_VARIABLE: Final = OFFERHUB_API_KEY.name
ANSWER_SECONDS_MAX: Final = 60
PAGE_MAX: Final = 100
"""The longest page of most lists."""
LISTED_MAX: Final = 1_000
"""How many items a command lists at most."""
BEGINNING: Final = "1970-01-01T00:00:00Z"
"""The time that stands for `--from beginning`."""

Limit = Annotated[int, Parameter(validator=Number(gte=1, lte=LISTED_MAX), help="How many at most.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of tables.")]


@dataclass(frozen=True, slots=True)
class Service:
    """A running service and the credential for it: an API key, a token, the master key, or "" for what is public."""

    url: str
    key: str

    def ask(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:
        """What a route answers, such as `ask("GET", "/orders", query={"limit": 20})`; None in `query` is left out.

        What the service refuses ends the program with 1, in the service's words. Raises CommandError when no
        service answers there.
        """
        try:
            with self.request(method, path, query=query, body=body) as answer:
                found = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise CommandError(
                f"no service answers at {self.url} ({error}): say where with --url or {URL_VARIABLE}."
            ) from error
        if answer.status >= 400:
            refuse(found, answer.status)
        return found

    @contextlib.contextmanager
    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        silence_seconds_max: float = ANSWER_SECONDS_MAX,
    ) -> Iterator[http.client.HTTPResponse]:
        """One answer, whatever its status, while the block runs. Raises OSError and HTTPException."""
        told = urlencode({name: value for name, value in (query or {}).items() if value is not None}, doseq=True)
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        credential = {"authorization": f"Bearer {self.key}"} if self.key else {}
        sent = {**credential, "content-type": "application/json", **(headers or {})}
        content = None if body is None else json.dumps(body)
        target = f"{parts.path.rstrip('/')}{path}" + (f"?{told}" if told else "")
        with contextlib.closing(kind(parts.hostname or "", parts.port, timeout=silence_seconds_max)) as connection:
            connection.request(method, target, content, sent)
            yield connection.getresponse()

    def items(
        self, path: str, *, query: Mapping[str, Any] | None = None, limit: int, page: int = PAGE_MAX
    ) -> Iterator[Any]:
        """The first `limit` items of a list, `page` at a time."""
        cursor: str | None = None
        left = limit
        while left > 0:
            found = self.ask("GET", path, query={**(query or {}), "limit": min(left, page), "cursor": cursor})
            yield from found["data"]
            left -= len(found["data"])
            cursor = found["pagination"].get("nextCursor")
            if cursor is None:
                return


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Access:
    """The flags of every command that asks a running service."""

    url: Annotated[str | None, Parameter(help=f"Where the service listens (or {URL_VARIABLE}).")] = None
    key: Annotated[str | None, Parameter(help=f"An API key, a token or the master key (or {KEY_VARIABLE}).")] = None

    def service(self, *, key_needed: bool = True) -> Service:
        """The service meant. Raises CommandError without a key that is needed, or when the URL is none.

        Raises SettingsError when the key's file cannot be read.
        """
        told, kept = environment(), read_config()
        url = self.url or told.get(URL_VARIABLE) or kept.get("apiUrl")
        url = url or f"http://localhost:{told.get(PORT.name) or PORT.default}"
        reader = Reader(told)
        key = self.key or reader.raw(OFFERHUB_API_KEY) or kept.get("apiKey")
        if reader.faults:
            raise SettingsError(reader.faults)
        if not key and key_needed:
            raise CommandError(
                f"a key is needed for {url}: give it with --key or {KEY_VARIABLE}, or keep it with "
                "`offerhub config set --url … --key …`."
            )
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandError(f"{url!r} is not a URL such as https://payments.example.com")
        return Service(url.rstrip("/"), key or "")


NOWHERE: Final = Access()
"""The default of the flags: what the environment and the configuration file say."""


def config_file() -> Path:
    """Where `offerhub config set` keeps the URL and the key."""
    return Path(os.environ.get("OFFERHUB_HOME") or Path.home() / ".offerhub") / "config.json"


def read_config() -> dict[str, str]:
    """What the configuration file says; empty without one. Raises CommandError for one that cannot be read."""
    path = config_file()
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise CommandError(f"{path} holds no JSON object")
    return {name: value for name, value in found.items() if isinstance(value, str)}


def refuse(found: Any, status: int) -> NoReturn:
    """End with 1, in the words of the service."""
    error = found.get("error") if isinstance(found, dict) else None
    told = error if isinstance(error, dict) else {}
    code = f" ({told['code']})" if "code" in told else ""
    print(f"offerhub: {told.get('message', f'the service answered {status}')}{code}", file=sys.stderr)
    sys.exit(1)


def given(**told: Any) -> dict[str, Any]:
    """What was told, without what was not."""
    return {name: value for name, value in told.items() if value is not None}


def listed(text: str | None) -> list[str] | None:
    """What stands between commas; None for nothing."""
    return [one.strip() for one in text.split(",") if one.strip()] if text else None
