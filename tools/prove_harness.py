"""Prove that the tests notice: plant known bugs in a copy of the product, one at a time, and run its test.

The copy lies in a temporary folder, with PostgreSQL and Valkey of its own. All named tests must pass there first, on
the product as it is. Then each bug is planted, its test must fail by its own verdict, and the bug is taken out again.
A bug that its test lets pass has SURVIVED: the tests have a hole. Exit status 1 when any has.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis import Redis
from rich.console import Console
from rich.table import Table
from rich.text import Text

import planted
from offerhub.runtime.embedded import embedded_services

ROOT: Final = Path(__file__).resolve().parents[1]
COPIED: Final = ("src", "tests", "tools", "docs", "bench", "pyproject.toml", "README.md", "Makefile")
WIDTH: Final = 220
"""Of the table where there is no terminal."""
SECONDS_MAX: Final = 300
"""For one test; a planted bug may well make it wait for ever."""
BADLY_PLANTED: Final = ("ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError", "NameError")
"""How Python fails where nothing was tested."""
_WHERE: Final = """
import os, subprocess, sys, offerhub
sys.path.insert(0, "tests")
from support.command import INHERITED
env = {name: text for name, text in os.environ.items() if name in INHERITED}
ask = [sys.executable, "-c", "import offerhub; print(offerhub.__file__)"]
found = subprocess.run(ask, env=env, capture_output=True, text=True, check=True).stdout.strip()
print(offerhub.__file__, found, sep="\\n")
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run of tests: those that passed, and what made the others fail, in a line."""

    passed: int
    failures: Sequence[str]
    broken: Sequence[str]
    """What failed before or after the test itself: nothing was judged."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Stage:
    """The copy, and the variables with which its tests run."""

    tree: Path
    environ: Mapping[str, str]

    def require_itself(self) -> None:
        """The copy's own package is what is imported, in processes that its tests start too. Raises SystemExit."""
        asked = subprocess.run(
            [sys.executable, "-c", _WHERE],
            cwd=self.tree,
            env=dict(self.environ),
            capture_output=True,
            text=True,
            check=True,
        )
        for place in asked.stdout.split():
            if not Path(place).is_relative_to(self.tree):
                raise SystemExit(f"the copy's tests would run against {place}")

    def run(self, tests: Sequence[str]) -> Ran:
        """Run tests in the copy."""
        with Redis.from_url(self.environ["REDIS_URL"]) as redis:
            redis.flushall()  # nothing of an earlier run
        report = self.tree.parent / "report.xml"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-n", "0", "-x" if len(tests) == 1 else "-q", "--tb=short"]
        begun = time.monotonic()
        try:
            subprocess.run(
                [*command, "-p", "no:cacheprovider", f"--junitxml={report}", *tests],
                cwd=self.tree,
                env=dict(self.environ),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ran(0, [f"no end after {SECONDS_MAX} s"], [], time.monotonic() - begun)
        return _ran(report, time.monotonic() - begun)


def _ran(report: Path, seconds: float) -> Ran:
    if not report.exists():
        return Ran(0, [], ["pytest wrote no report"], seconds)
    passed, failures, broken = 0, [], []
    # Our own pytest has just written it.
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        failed, wrong = case.find("failure"), case.find("error")
        if failed is not None:
            said = (failed.get("message") or "").strip().splitlines() or ["it failed"]
            (broken if said[0].startswith(BADLY_PLANTED) else failures).append(said[0])
        elif wrong is not None:
            broken.append(((wrong.get("message") or "").strip().splitlines() or ["an error"])[0])
        elif case.find("skipped") is None:
            passed += 1
    return Ran(passed, failures, broken, seconds)


def copy(to: Path) -> Path:
    """The product and its tests as they stand, without what others have left there."""
    tree = to / "tree"
    tree.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis", "*.pyc"))
        elif source.exists():
            shutil.copy2(source, tree / name)
    return tree


def prove(stage: Stage, bugs: Sequence[planted.Planted], console: Console) -> bool:
    """Control, then bug after bug; True when every one was caught."""
    tests = sorted({bug.test for bug in bugs})
    with console.status(f"control: {len(tests)} tests on the product as it is …"):
        control = stage.run(tests)
    for fault in (*control.failures, *control.broken):
        console.print(f"control: {fault}", markup=False)
    if control.failures or control.broken or not control.passed:
        console.print("control: the tests must pass before they can prove anything")
        return False
    console.print(f"control: {len(tests)} tests pass on the product as it is, {control.seconds:.0f} s")
    table = Table("bug", "its test", "outcome", "s", "what the test said")
    caught = 0
    for number, bug in enumerate(bugs, 1):
        with console.status(f"{number} of {len(bugs)}: {bug.name} …"):
            before = bug.put_into(stage.tree)
            ran = stage.run([bug.test])
            for file, text in before.items():
                file.write_text(text, encoding="utf-8")
        outcome = "caught" if ran.failures else "planted badly" if ran.broken else "SURVIVED"
        caught += bool(ran.failures)
        said = Text(next(iter(ran.failures), ""), overflow="ellipsis", no_wrap=True)
        table.add_row(bug.name, Text(bug.test.removeprefix("tests/")), outcome, f"{ran.seconds:.0f}", said)
        if not ran.failures:
            console.print(f"{bug.name}: {outcome} {'; '.join(ran.broken)}", markup=False)
    console.print(table)
    console.print(f"planted bugs: {len(bugs)}, caught: {caught}", highlight=False)
    return caught == len(bugs)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="bugs whose name begins so, such as 03")
    parser.add_argument("--list", action="store_true", help="show the bugs, and run nothing")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    bugs = [bug for bug in planted.read(ROOT) if bug.name.startswith(tuple(options.only or [""]))]
    if not bugs:
        raise SystemExit("there is no such bug")
    if options.list:
        for bug in bugs:
            console.print(f"{bug.name}: {bug.plants}\n    caught by {bug.test}", markup=False, highlight=False)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="offerhub-harness-"))
    folder.chmod(0o711)  # as root the servers run as somebody else
    try:
        with embedded_services(folder, durable=False) as urls:
            tree = copy(folder)
            environ = {name: value for name, value in os.environ.items() if not name.startswith("OFFERHUB_")} | {
                "DATABASE_URL": urls.database_url,
                "REDIS_URL": urls.redis_url,
                "PYTHONPATH": str(tree / "src"),
                # A file that is planted and taken out within a second must not be mistaken for what it was before.
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            stage = Stage(tree, environ)
            stage.require_itself()
            return 0 if prove(stage, bugs, console) else 1
    finally:
        shutil.rmtree((folder / "services").resolve(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
