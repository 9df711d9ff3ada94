"""What the watcher sees: one line for each step, with a spinner while it runs when there is a terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.status import Status

TEXT_COLUMNS: Final = 68


class Step:
    """A step that is running. Its text may be changed until it is done: first what is tried, then what came of it."""

    def __init__(self, text: str, status: Status) -> None:
        self.text = text
        self._status = status

    def show(self, text: str) -> None:
        """Change the text, on the terminal at once."""
        self.text = text
        self._status.update(f" {escape(text)}")


class Progress:
    """Prints acts and their steps."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._interrupted = False

    def interrupt(self, *_: object) -> NoReturn:
        """The handler of the signals that ask the demo to end.

        Python drops what is raised while it finalises an object; then the next step notices.
        """
        self._interrupted = True
        raise KeyboardInterrupt

    def act(self, title: str) -> None:
        """Begin an act."""
        self.console.print(f"\n[bold]{escape(title)}[/bold]", highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Show a step while it runs, and how it ended and how long it took afterwards."""
        if self._interrupted:
            raise KeyboardInterrupt
        started = time.monotonic()
        # Without a terminal the status shows nothing; the line below is all there is.
        with self.console.status(f" {escape(text)}") as status:
            step = Step(text, status)
            try:
                yield step
            except BaseException:
                self._line("[red]✗[/red]", step.text, started)
                raise
        self._line("[green]✓[/green]", step.text, started)

    def _line(self, mark: str, text: str, started: float) -> None:
        taken = f"[dim]{time.monotonic() - started:5.1f} s[/dim]"
        self.console.print(f"  {mark} {escape(text.ljust(TEXT_COLUMNS))}{taken}", highlight=False, soft_wrap=True)
