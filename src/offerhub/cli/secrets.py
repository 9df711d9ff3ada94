"""`offerhub secrets`: the keys that an installation makes for itself."""

import base64
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from offerhub.cli.environment import CommandError
from offerhub.cli.remote import AsJson

KEY_BYTES: Final = 32


def _base64() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")


GENERATED: Final[Mapping[str, tuple[Callable[[], str], str]]] = {
    "OFFERHUB_MASTER_KEY": (_base64, "Makes the first API keys; whoever has it may do everything."),
    "WALLET_ENCRYPTION_KEY": (
        lambda: secrets.token_hex(KEY_BYTES),
        "Encrypts the wallets' secrets. Lost, the wallets are lost: keep a copy apart from the database's backups.",
    ),
    "OFFERHUB_JWT_SECRET": (_base64, "Signs short-lived tokens."),
    "TRUSTLESS_WEBHOOK_SECRET": (_base64, "Tell Trustless Work when you register the webhook."),
}
"""By variable: how it is made, and what to know of it. What a provider makes (Airtm's webhook secret) is not here."""


def generate(
    *names: str,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    as_json: AsJson = False,
) -> None:
    """Make new secrets and print them as lines of an env file; nothing is kept anywhere else.

    Parameters
    ----------
    names
        Which, such as `OFFERHUB_MASTER_KEY`; without any, all that an installation makes for itself.
    output
        Write them to this new file, which only its owner can read, instead of printing them. A file that exists is
        never touched.
    """
    unknown = [name for name in names if name not in GENERATED]
    if unknown:
        raise CommandError(f"{', '.join(unknown)} cannot be made here: {', '.join(GENERATED)} can.")
    made = {name: GENERATED[name][0]() for name in dict.fromkeys(names or GENERATED)}
    text = json.dumps(made, indent=2) + "\n" if as_json else env_lines(made)
    if output is None:
        print(text, end="")
        return
    write_private(output, text)
    print(f"written to {output}: {', '.join(made)}")


def env_lines(made: Mapping[str, str]) -> str:
    """Lines of an env file, each with what to know of it above."""
    return "".join(f"# {GENERATED[name][1]}\n{name}={value}\n" for name, value in made.items())


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner ever can read. Raises CommandError if it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise CommandError(f"{path} exists, and is left as it is: move it away, or name another file.") from error
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
