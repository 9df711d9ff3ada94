"""`offerhub prove`: the proof of the books, and the bundle with which others check them."""

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from offerhub.cli.database import CONNECTIONS, with_database
from offerhub.cli.environment import CommandError
from offerhub.cli.remote import AsJson
from offerhub.kernel.money import format_chain_amount
from offerhub.kernel.version import VERSION
from offerhub.operations import bundle
from offerhub.operations.checks import CHECKS
from offerhub.operations.proof import PACE_POSTINGS_MIN, Proof, prove
from offerhub.runtime.database import Database
from offerhub.settings import Settings

NAME: Final = "offerhub prove"


def prove_command(
    *,
    export: Annotated[Path | None, Parameter(help="Write a bundle to this file (.zip) instead of a proof.")] = None,
    audit: Annotated[
        bool,
        Parameter(
            negative="--without-audit",
            help="Leave the audit trail out of the bundle: its entries name callers' addresses and user agents.",
        ),
    ] = True,
    connections: Annotated[
        int, Parameter(validator=Number(gte=1, lte=16), help="How many checks run beside one another.")
    ] = CONNECTIONS,
    as_json: AsJson = False,
) -> None:
    """Derive every balance again from its postings and hold every state against the books.

    Reads only, on one consistent snapshot of the live database: it locks nothing that the service needs, and may
    run at any time. On a terminal it shows which check of how many runs. In the end it tells the number of postings,
    the time, and the seconds for a million postings. Exits with 1 and shows the offending rows when anything does
    not hold.

    With --export it writes a bundle instead, from one snapshot: the books, states and events, the audit trail, what
    was sent to the chain, escrows and deposits, and a manifest with the SHA-256 of each file. No secrets, nothing
    sealed, no text of users. Inside is `verify.py`, which checks all of it offline, in plain Python, without this
    program:

        unzip books.zip verify.py && python3 verify.py books.zip

    The command prints the SHA-256 of the manifest. Kept elsewhere and given back to `verify.py` with --manifest, it
    shows that the bundle is still that one.
    """
    if export is None:
        with _bar(len(CHECKS), "checks") as step:
            proof = with_database(
                lambda _, database: prove(
                    database,
                    connections=connections,
                    progress=lambda done, check: step(done, "" if check is None else check.sentence),
                ),
                NAME,
                connections,
            )
        if as_json:
            print(json.dumps(proof.wire(), indent=2))
        else:
            show_proof(proof, Console())
        if not proof.holds:
            sys.exit(1)
        return
    with _bar(None, "files") as step:
        written = _export(export, audit, step)
    if as_json:
        print(json.dumps({"manifestSha256": written.manifest_sha256, "rows": written.rows}, indent=2))
    else:
        _show_bundle(written, export, Console(soft_wrap=True))


@contextlib.contextmanager
def _bar(total: int | None, what: str) -> Iterator[Callable[..., None]]:
    """A bar on standard error, on a terminal; told how much is done, what begins, and how much there is in all."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(what),
        TimeElapsedColumn(),
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=total)

        def step(done: int, begins: str, of: int | None = total) -> None:
            if begins:
                bar.update(task, description=begins)
            bar.update(task, completed=done, total=of)

        yield step


def _export(file: Path, audit: bool, step: Callable[..., None]) -> bundle.Bundle:
    """Write the file whole or not at all; only its owner may read it."""
    part = file.with_name(f"{file.name}.part")
    if file.exists():
        raise CommandError(f"{file} is there already.")
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600, exist_ok=False)
        with part.open("wb") as to:
            written = with_database(
                lambda settings, database: _write(settings, database, to, audit, step), NAME, connections=1
            )
        part.rename(file)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return written


async def _write(
    settings: Settings, database: Database, to: IO[bytes], audit: bool, step: Callable[..., None]
) -> bundle.Bundle:
    return await bundle.write(
        database,
        to,
        program=VERSION,
        network_id=hashlib.sha256(settings.stellar.passphrase.encode()).hexdigest(),
        with_audit=audit,
        progress=lambda done, total, name: step(done, name, total),
    )


def show_proof(proof: Proof, console: Console) -> None:
    """Print a proof: the totals, then what does not hold."""
    totals = Table("account", Column("sum", justify="right"), title="the books")
    for kind, total in proof.totals.items():
        totals.add_row(kind, format_chain_amount(total))
    totals.add_row("all", format_chain_amount(sum(proof.totals.values())), style="bold")
    console.print(totals)
    for finding in proof.findings:
        console.print(f"[red]{finding.check.invariant} does not hold:[/red] {finding.check.sentence}")
        for row in finding.rows:
            console.print(f"    {row}", markup=False, highlight=False)
    verdict = "[green]proven[/green]" if proof.holds else "[red]NOT proven[/red]"
    console.print(
        f"{verdict}: {proof.checks} checks over {proof.postings} postings in {proof.seconds:.2f} s, {_pace(proof)}"
        + ("" if proof.holds else f", {len(proof.findings)} do not hold")
    )


def _pace(proof: Proof) -> str:
    pace = proof.seconds_per_million
    if pace is None:
        return f"seconds per million postings: told from {PACE_POSTINGS_MIN} postings on"
    return f"{pace:.1f} seconds per million postings"


def _show_bundle(written: bundle.Bundle, file: Path, console: Console) -> None:
    table = Table("file", Column("rows", justify="right"), title=str(file))
    for name, rows in written.rows.items():
        table.add_row(name, f"{rows}")
    console.print(table)
    console.print(f"manifest {written.manifest_sha256}", highlight=False)
    console.print(f"check it: unzip {file} verify.py && python3 verify.py {file}", highlight=False)
