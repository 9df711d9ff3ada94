"""`offerhub audit`: whether the trail is as it was written, and a copy of it for elsewhere."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final, TextIO

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import Progress, TextColumn

from offerhub.audit import chain
from offerhub.cli.database import with_database
from offerhub.cli.environment import CommandError
from offerhub.cli.remote import AsJson
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Vault
from offerhub.settings import Settings

NAME: Final = "offerhub audit"


@contextlib.contextmanager
def _counting(console: Console) -> Iterator[Callable[[int], None]]:
    """A line that counts entries while a command walks them."""
    bar = Progress(TextColumn("{task.completed} entries"), console=console, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("entries", total=None)
        yield lambda seen: bar.update(task, advance=seen)


def verify(
    *,
    head: Annotated[str | None, Parameter(help="The end of the chain as an earlier run printed it.")] = None,
    file: Annotated[Path | None, Parameter(help="Check this export instead of the database.")] = None,
    as_json: AsJson = False,
) -> None:
    """Walk the chain of the audit trail and name every entry that was edited, removed, reordered or slipped in.

    Reads only, on one consistent snapshot. Prints the end of the chain: kept elsewhere and given back with --head, it
    also shows when the newest entries were taken away. Exits with 1 when anything is found.
    """
    try:
        anchor = None if head is None else chain.Head.parse(head)
    except ValueError as error:
        raise CommandError(
            f"--head must be what `offerhub audit verify` printed, such as 1200:4f…: {error}"
        ) from error
    with _counting(Console(stderr=True)) as progress:
        verdict = _of_file(file, anchor) if file else _of_database(anchor, progress)
    if as_json:
        print(json.dumps(verdict.wire(), indent=2))
    else:
        _show(verdict)
    if not verdict.holds:
        sys.exit(1)


def _of_database(anchor: chain.Head | None, progress: Callable[[int], None]) -> chain.Verdict:
    async def verified(settings: Settings, database: Database) -> chain.Verdict:
        vault = Vault(settings.keys.wallet_keys, settings.keys.wallet_key_version)
        return await chain.verify(database, vault, anchor, progress)

    return with_database(verified, NAME)


def _of_file(file: Path, anchor: chain.Head | None) -> chain.Verdict:
    try:
        with file.open(encoding="utf-8", newline="\n") as text:
            return chain.verify_export(text, anchor)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from error


def _show(verdict: chain.Verdict) -> None:
    console = Console(soft_wrap=True)
    for one in verdict.findings:
        where = f"{one.sequence}" + (f" ({one.entry_id})" if one.entry_id else "")
        console.print(f"[red]{where}:[/red] {one.reason}", highlight=False)
    if verdict.found > len(verdict.findings):
        console.print(f"… and {verdict.found - len(verdict.findings)} more")
    word = "[green]intact[/green]" if verdict.holds else f"[red]NOT intact[/red], {verdict.found} findings"
    console.print(
        f"{word}: {verdict.entries} entries under {verdict.seals} seals, {verdict.waiting} not sealed yet",
        highlight=False,
    )
    console.print(f"head {verdict.head}", highlight=False)


def export(
    *,
    out: Annotated[Path | None, Parameter(help="The file to write; without it, standard output.")] = None,
    after: Annotated[int, Parameter(validator=Number(gte=0), help="Only what follows this place in the chain.")] = 0,
) -> None:
    """Write the sealed audit trail as lines `<sequence> <hash> <entry as JSON>`, of all marketplaces.

    Each hash is SHA-256 of the hash before it (32 zero bytes before the first) and the entry's text, so that a few
    lines in any language can check the file; `offerhub audit verify --file` does.
    """

    def write(to: TextIO) -> chain.Head:
        with _counting(Console(stderr=True)) as progress:
            return with_database(lambda _, database: chain.export(database, to, after, progress), NAME)

    if out is None:
        end = write(sys.stdout)
    else:
        try:
            with out.open("x", encoding="utf-8", newline="\n") as file:
                end = write(file)
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error}") from error
    print(f"head {end}", file=sys.stderr)
