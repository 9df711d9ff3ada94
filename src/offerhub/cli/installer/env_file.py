"""The env file that an installation starts from."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from offerhub.cli.environment import CommandError
from offerhub.cli.secrets import GENERATED, write_private
from offerhub.settings import catalogue as the

OWN_KEYS: Final = (the.OFFERHUB_MASTER_KEY.name, the.WALLET_ENCRYPTION_KEY.name, the.OFFERHUB_JWT_SECRET.name)
"""What an installation makes for itself, and nobody else knows."""
SET_ASIDE_MAX: Final = 1_000


def with_keys(answers: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """The answers, over what was set before, with keys: those that are there already stay, for what they sealed."""
    kept = {name: before[name] for name in OWN_KEYS if before.get(name)}
    made = {name: GENERATED[name][0]() for name in OWN_KEYS if name not in kept}
    return {**before, **answers, **kept, **made}


def render(values: Mapping[str, str]) -> str:
    """The text of the file, in the order of the configuration's reference. Raises CommandError for odd values."""
    lines = ["# Made by `offerhub init`. It holds secrets: keep it to its owner, and out of version control."]
    group = ""
    for variable in the.ALL:
        if variable.name not in values:
            continue
        if variable.group != group:
            group = variable.group
            lines += ["", f"# {group}"]
        if variable.name in GENERATED:
            lines.append(f"# {GENERATED[variable.name][1]}")
        lines.append(f"{variable.name}={_quoted(variable.name, values[variable.name])}")
    known = {variable.name for variable in the.ALL}
    others = [f"{name}={_quoted(name, value)}" for name, value in values.items() if name not in known]
    return "\n".join([*lines, *(["", "# Others", *others] if others else [])]) + "\n"


def _quoted(name: str, value: str) -> str:
    if not any(character in value for character in " #'\"\n"):
        return value
    for quote in ('"', "'"):
        if quote not in value and "\n" not in value:
            return f"{quote}{value}{quote}"
    raise CommandError(f"{name} has both kinds of quotes, or several lines: put it into a file, and use {name}_FILE.")


def write(path: Path, text: str) -> Path | None:
    """Write the file, for its owner alone. One that is there is moved aside, never lost; returns where to."""
    aside = None
    if path.exists():
        names = (path.with_name(f"{path.name}.before-{number}") for number in range(1, SET_ASIDE_MAX))
        aside = next(itertools.dropwhile(Path.exists, names))
        path.rename(aside)
    write_private(path, text)
    return aside
