"""`offerhub users`: the users of a running service."""

import json
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from offerhub.cli.remote import NOWHERE, Access, AsJson, Limit
from offerhub.cli.tables import print_list


def list_users(
    *,
    user_type: Annotated[Literal["BUYER", "SELLER", "BOTH"] | None, Parameter(name="--type")] = None,
    status: str | None = None,
    limit: Limit = 100,
    as_json: AsJson = False,
    access: Access = NOWHERE,
) -> None:
    """List users, newest first.

    Parameters
    ----------
    user_type
        Only users of this type.
    status
        Only users in this state, such as `ACTIVE`.
    """
    query = {"type": user_type, "status": status}
    found: list[dict[str, Any]] = list(access.service().items("/users", query=query, limit=limit))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    rows = [
        (one["id"], one["externalUserId"], one["type"], one["status"], one.get("email") or "", one["createdAt"][:19])
        for one in found
    ]
    print_list(("id", "external id", "type", "status", "mail", "created"), rows)


def show(user_id: str, /, *, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Show a user, its balance and its wallet.

    Parameters
    ----------
    user_id
        `usr_…`, as `offerhub users list` shows it.
    """
    service = access.service()
    user = service.ask("GET", f"/users/{user_id}")["data"]
    balance = service.ask("GET", f"/users/{user_id}/balance")["data"]
    if as_json:
        print(json.dumps({"user": user, "balance": balance}, indent=2))
        return
    table = Table("", "", show_header=False)
    for name in ("id", "externalUserId", "type", "status", "email", "createdAt"):
        table.add_row(name, escape(str(user.get(name) or "")))
    for name in ("available", "reserved"):
        table.add_row(name, f"{balance[name]} {balance['currency']}")
    for name, text in (user.get("wallet") or {}).items():
        table.add_row(f"wallet {name}", escape(str(text)))
    Console().print(table)
