"""The command itself: set the stage, play, report, and say how it ended."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from offerhub.cli.demo.client import ConnectionCut, DemoFailed
from offerhub.cli.demo.progress import Progress
from offerhub.cli.demo.report import Report, gather
from offerhub.cli.demo.script import Script
from offerhub.cli.demo.stage import Stage, data_dir_of, new_folder, remove_folder, stage
from offerhub.cli.development import sandbox_info

LEDGER_SECONDS: Final = 1.0
FAST_LEDGER_SECONDS: Final = 0.25


def demo(*, fast: bool = False, keep: bool = False) -> None:
    """Show the main job on real servers, with a crash in the middle.

    Starts PostgreSQL, Valkey, the service and a sandbox of Stellar and Trustless Work, all of its own. Then over
    HTTP: a deposit, an order through escrow to release, one disputed and split, one refunded, a withdrawal. In the
    middle of the release it kills the service with SIGKILL and starts it again. In the end the books are held
    against the chain and proven; any disagreement makes the exit status 1.

    Parameters
    ----------
    fast
        Close a ledger every 0.25 s instead of every second.
    keep
        Leave everything running until Ctrl-C, and print the address and the keys.
    """
    started = time.monotonic()
    console = Console()
    progress = Progress(console)
    for number in (signal.SIGINT, signal.SIGTERM):  # whoever asks us to end, nothing is left running
        signal.signal(number, progress.interrupt)
    folder = new_folder(data_dir_of(os.environ))
    try:
        _perform(progress, folder, started, fast=fast, keep=keep)
    except KeyboardInterrupt:
        remove_folder(folder)
        raise
    except (DemoFailed, ConnectionCut) as error:
        console.print(f"\n[red]The demo failed:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        console.print(f"The logs of this run are in {folder}", highlight=False, soft_wrap=True)
        sys.exit(1)
    remove_folder(folder)


def _perform(progress: Progress, folder: Path, started: float, *, fast: bool, keep: bool) -> None:
    console = progress.console
    progress.act("Servers of its own, in a folder of its own")
    with stage(folder, progress, FAST_LEDGER_SECONDS if fast else LEDGER_SECONDS) as on:
        script = Script(on, progress)
        script.play()
        report = gather(script, on.database_url, sandbox_info(on.sandbox_url)["trustless_work_fee_account"])
        report.show(console)
        console.print(f"\n[bold]{time.monotonic() - started:.1f} s[/bold] in all", highlight=False)
        if keep:
            _keep(console, on, script)
        conclude(report)


def conclude(report: Report) -> None:
    """Raises DemoFailed, naming what disagrees, unless everything is as it must be."""
    if wrong := report.disagreements():
        raise DemoFailed(f"Books, chain and what must be do not agree on: {', '.join(wrong)}.")


def _keep(console: Console, on: Stage, script: Script) -> None:
    """Print how to reach what runs, and wait for Ctrl-C."""
    api = script.api.base_url
    authorised = 'curl -H "Authorization: Bearer $API_KEY"'
    lines = (
        f"\nEverything is still running, until Ctrl-C. The service is at {api},",
        f"the sandbox of the outside world at {on.sandbox_url}, the logs in {on.service.log.parent}.",
        f"\n  MASTER_KEY={on.master_key}",
        f"  API_KEY={script.cast.api_key}",
        f"  {authorised} {api}/users/{script.cast.seller}/balance",
        f"  {authorised} {api}/orders",
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    with contextlib.suppress(KeyboardInterrupt):
        on.service.wait()
        raise DemoFailed("The service ended by itself.")
