"""`offerhub maintenance`: refuse changes for a while, at a running service."""

import json
from typing import Any

from offerhub.cli.remote import NOWHERE, Access, AsJson


def _show(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(told, indent=2))
    elif not told["enabled"]:
        print("changes are accepted")
    else:
        since = f" since {told['enabledAt']}" if told.get("enabledAt") else ""
        by = f", by {told['enabledBy']}" if told.get("enabledBy") else ""
        print(f"changes are refused{since}{by}: {told.get('message') or 'without a message'}")


def enable(*, message: str | None = None, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Refuse every change with 503 until it is disabled; reading goes on.

    Parameters
    ----------
    message
        What callers are told.
    """
    body = {} if message is None else {"message": message}
    _show(access.service().ask("POST", "/admin/maintenance/enable", body=body)["data"], as_json)


def disable(*, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Accept changes again."""
    _show(access.service().ask("POST", "/admin/maintenance/disable")["data"], as_json)


def status(*, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Say whether changes are accepted."""
    _show(access.service().ask("GET", "/admin/maintenance/status")["data"], as_json)
