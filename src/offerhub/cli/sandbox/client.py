"""The controls of a running sandbox, as the commands use them."""

import contextlib
import http.client
import json
import sys
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import urlsplit

from cyclopts import Parameter

from offerhub.cli.environment import CommandError

DEFAULT_URL: Final = "http://127.0.0.1:4010"
URL_VARIABLE: Final = "OFFERHUB_SANDBOX_URL"
ANSWER_SECONDS_MAX: Final = 600
"""An advance waits for every webhook that falls due in it."""

Url = Annotated[
    str,
    Parameter(name="--url", env_var=URL_VARIABLE, help="Where the sandbox listens."),
]


def ask(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What a control answers. What it refuses ends the program with 1.

    Raises CommandError when there is no sandbox.
    """
    try:
        parts = urlsplit(url)
        # Not through a proxy: the sandbox listens on this machine.
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS_MAX)
        with contextlib.closing(connection):
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/_sim{path}", content, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            found = json.loads(text)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CommandError(
            f"no sandbox answers at {url} ({error}): start one with `offerhub sandbox`, or say where with --url."
        ) from error
    if answer.status != 200:
        refuse(str(found.get("error", f"the sandbox answered {answer.status}")))
    return found


def refuse(reason: str) -> NoReturn:
    """End with 1, saying why."""
    print(f"offerhub: {reason}", file=sys.stderr)
    sys.exit(1)
