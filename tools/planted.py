"""Planted bugs: patches that put a known mistake into the product, each with the test that must notice it.

A file is a head and a unified diff. The head is `Plants: …` (what is wrong, over as many lines as it takes) and
`Caught-by: tests/…::test_…`. The text of a change must stand in the file exactly once; line numbers do not matter, so
a patch goes on fitting while other parts of the file change. Nothing but Python is needed to apply one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = "tests/harness/planted"

_FILE = re.compile(r"--- a/(\S+)")
_CAUGHT_BY = re.compile(r"^Caught-by: (tests/\S+\.py)::(test_\w+)$", re.MULTILINE)
_PLANTS = re.compile(r"^Plants: (.+?)\n(?=Caught-by: )", re.MULTILINE | re.DOTALL)


class DoesNotFit(Exception):
    """A patch is malformed, or the tree is not what it was made for."""


@dataclass(frozen=True, slots=True)
class Change:
    """Some lines of a file, and those that take their place."""

    file: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Planted:
    """A bug: its name, what it is, the test that must notice it, and the changes that make it."""

    name: str
    plants: str
    test_file: str
    test_name: str
    changes: Sequence[Change]

    @property
    def test(self) -> str:
        """The test as pytest takes it."""
        return f"{self.test_file}::{self.test_name}"

    def put_into(self, tree: Path) -> dict[Path, str]:
        """Make the changes; returns the files that were changed as they were. Raises DoesNotFit, changing nothing."""
        files = {tree / change.file: "" for change in self.changes}
        before = {file: _read(file) for file in files}
        planted = dict(before)
        for change in self.changes:
            file = tree / change.file
            times = planted[file].count(change.before)
            if times != 1:
                raise DoesNotFit(f"{self.name}: the text to change is {times} times in {change.file}")
            planted[file] = planted[file].replace(change.before, change.after)
        for file, text in planted.items():
            file.write_text(text, encoding="utf-8")
        return before


def read(tree: Path) -> list[Planted]:
    """All planted bugs of a tree, by name. Raises DoesNotFit."""
    return [_planted(file) for file in sorted((tree / FOLDER).glob("*.patch"))]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DoesNotFit(f"there is no {file}") from None


def _planted(file: Path) -> Planted:
    text = file.read_text(encoding="utf-8")
    head, cut, diff = text.partition("--- a/")
    plants, caught_by = _PLANTS.search(head), _CAUGHT_BY.search(head)
    if plants is None or caught_by is None:
        raise DoesNotFit(f"{file.name}: its head must be `Plants: …` and `Caught-by: tests/….py::test_…`")
    changes = list(_changes(file.name, cut + diff))
    if not changes:
        raise DoesNotFit(f"{file.name}: it changes nothing")
    return Planted(file.stem, " ".join(plants[1].split()), caught_by[1], caught_by[2], changes)


def _changes(name: str, diff: str) -> Iterator[Change]:
    """The hunks of a unified diff."""
    target = ""
    before: list[str] = []
    after: list[str] = []
    for line in [*diff.splitlines(keepends=True), "@@ the end"]:
        found = _FILE.match(line)
        if found or line.startswith("@@"):
            if before or after:
                yield Change(target, "".join(before), "".join(after))
                before, after = [], []
            target = found[1] if found else target
        elif not line.startswith("+++ b/"):
            sign, rest = line[0], line[1:]
            if sign not in " -+":
                raise DoesNotFit(f"{name}: a line of a diff begins with a space, - or +: {line!r}")
            before += [rest] if sign in " -" else []
            after += [rest] if sign in " +" else []
