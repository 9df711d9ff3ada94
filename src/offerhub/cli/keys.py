"""`offerhub keys`: API keys of a running service."""

import json
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

from offerhub.cli.remote import LISTED_MAX, NOWHERE, Access, AsJson, given, listed
from offerhub.cli.tables import Cell, print_list

TOKEN_SECONDS_DEFAULT: Final = 3600
KeyId = Annotated[str, Parameter(help="`key_…`, as `offerhub keys list` shows it.")]


def list_keys(
    *, user: str | None = None, limit: int = 100, as_json: AsJson = False, access: Access = NOWHERE
) -> None:
    """List API keys, newest first. Secrets are not shown: nobody has them any more.

    Parameters
    ----------
    user
        Only the keys that are bound to this user.
    limit
        How many at most.
    """
    found = list(access.service().items("/auth/api-keys", query={"userId": user}, limit=min(limit, LISTED_MAX)))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    rows: list[list[Cell]] = []
    for one in found:
        state = Text("revoked", style="red") if one.get("revokedAt") else "valid"
        told = [one.get(name) or "" for name in ("id", "maskedKey", "name")]
        times = [(one.get(name) or "")[:19] for name in ("createdAt", "lastUsedAt")]
        rows.append([*told, " ".join(one["scopes"]), one.get("userId") or "", *times, state])
    columns = ("id", "key", "name", "scopes", "user", "created", "last used", "state")
    print_list(columns, rows, folded=("name", "scopes"))


def create(
    *,
    scopes: Annotated[str, Parameter(help="What it may do, with commas: `read,write`, `orders,users`, `*`.")] = (
        "read,write"
    ),
    name: str | None = None,
    user: Annotated[str | None, Parameter(help="Bind it to this user.")] = None,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """Create an API key and print it. This is the only time that it is shown.

    Parameters
    ----------
    name
        What to call it in lists.
    """
    body = given(scopes=listed(scopes) or [], name=name, userId=user)
    made = access.service().ask("POST", "/auth/api-keys", body=body)["data"]
    if as_json:
        print(json.dumps(made, indent=2))
        return
    console = Console()
    console.print(f"id      {made['id']}\nscopes  {' '.join(made['scopes'])}", highlight=False)
    # Not through rich: a key is never wrapped.
    print(f"key     {made['key']}")
    console.print("Keep it now: it is not shown again.")


def revoke(key_id: KeyId, /, *, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Revoke an API key and all its tokens. Every process refuses it a second later."""
    told = access.service().ask("DELETE", f"/auth/api-keys/{key_id}")["data"]
    print(json.dumps(told, indent=2) if as_json else f"revoked {key_id}")


def token(
    key_id: KeyId,
    /,
    *,
    ttl: Annotated[int, Parameter(validator=Number(gte=1))] = TOKEN_SECONDS_DEFAULT,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """Issue a short-lived token for a key and print it.

    Parameters
    ----------
    ttl
        How many seconds it is valid.
    """
    made = access.service().ask("POST", f"/auth/api-keys/{key_id}/token", body={"ttl": ttl})["data"]
    print(json.dumps(made, indent=2) if as_json else f"{made['token']}\nvalid until {made['expiresAt']}")
