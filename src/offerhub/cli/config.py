"""`offerhub config`: which service the commands ask, kept in a file that only its owner reads."""

import json
from typing import Final

from offerhub.cli.environment import CommandError
from offerhub.cli.remote import NOWHERE, Access, AsJson, config_file, given, read_config
from offerhub.cli.secrets import write_private

KEY_SHOWN_CHARACTERS: Final = 10


def set_config(*, access: Access = NOWHERE) -> None:
    """Keep the URL and the key of a service, so that other commands need no flags. What is not given stays."""
    if access.url is None and access.key is None:
        raise CommandError("nothing to keep: give --url, --key or both.")
    kept = read_config() | given(apiUrl=access.url, apiKey=access.key)
    path = config_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Never readable by others, not even for a moment: written beside, then moved into place.
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    write_private(beside, json.dumps(kept, indent=2))
    beside.replace(path)
    print(f"kept in {path}")


def show(*, as_json: AsJson = False, access: Access = NOWHERE) -> None:
    """Show which service the commands ask, with the first characters of the key."""
    service = access.service()
    told = {"apiUrl": service.url, "apiKey": f"{service.key[:KEY_SHOWN_CHARACTERS]}…"}
    print(json.dumps(told, indent=2) if as_json else f"url  {told['apiUrl']}\nkey  {told['apiKey']}")
