"""Where the command line's variables come from besides the environment: a file `.env` and a key of its own making."""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from offerhub.settings.catalogue import NODE_ENV, OFFERHUB_DATA_DIR, OFFERHUB_MASTER_KEY
from offerhub.settings.variable import Reader, SettingsError

DEVELOPMENT_KEY_FILE: Final = "master.key"

_LINE = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
    (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'][^\n]*?)?)
    \s*(?:(?<=[\s"'=])\#.*)?""",
    re.VERBOSE,
)


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file of lines `NAME=value`; none when there is no such file.

    Empty lines, comments, a leading `export` and quotes around a value are understood; nothing is expanded.
    Raises SettingsError with the number of every line that is something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    found: dict[str, str] = {}
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:  # the line itself may hold a secret and is not shown
            faults.append(f"{path.name}, line {number}: must be NAME=value.")
            continue
        found[match["name"]] = match["double"] or match["single"] or match["bare"] or ""
    if faults:
        raise SettingsError(faults)
    return found


def with_development_key(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with a master key, outside production: made once and kept in the data folder, mode 0600.

    What the key encrypts lives in the same folder, so the two are kept and thrown away together.
    """
    reader = Reader(environ)
    given = reader.raw(OFFERHUB_MASTER_KEY)
    # A key whose file cannot be read is a fault to be told, not one to be made.
    if given or reader.faults or reader.get(NODE_ENV) == "production":
        return dict(environ)
    path = reader.get(OFFERHUB_DATA_DIR) / DEVELOPMENT_KEY_FILE
    if not path.exists():
        _write_once(path, f"ohk_master_{secrets.token_hex(24)}")
    return {**environ, OFFERHUB_MASTER_KEY.name: path.read_text(encoding="ascii").strip()}


def _write_once(path: Path, text: str) -> None:
    """Write a private file whole, unless another process came first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
    try:
        path.hardlink_to(scratch)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()
