"""The examples in the documentation, taken out of its pages and run as a reader would run them.

A page's `sh` blocks are one session of bash, its `python` blocks one program, in page order. A `text` block right
after one of them is what it must print, line by line. A `json` block is that as JSON: `"…"` stands for any value, an
object with the key `"…"` may hold more than is shown, and a list that ends in `"…"` may be longer. A page whose
examples need a product with other variables says so in a comment: `<!-- examples with PAYMENT_PROVIDER=airtm -->`.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
ANYTHING: Final = "…"
BOUNDARY: Final = "--- end of example {number} ---"
SECONDS_MAX: Final = 120

_BLOCK = re.compile(r"^```(?P<language>sh|python|json|text)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


_VARIABLES = re.compile(r"^<!-- examples with (?P<variables>.*) -->$", re.MULTILINE)


class Lines(str):
    """What an example prints, where that is no JSON."""

    __slots__ = ()


@dataclass(frozen=True)
class Example:
    """One block to be run, and what it must print (None: anything)."""

    line: int
    language: str
    code: str
    expected: Any


def examples(page: Path) -> list[Example]:
    """The examples of a page, in order. A `json` or `text` block that is not right after code is an illustration."""
    text = page.read_text(encoding="utf-8")
    found: list[Example] = []
    end_of_code = 0
    for block in _BLOCK.finditer(text):
        if block["language"] in ("sh", "python"):
            line = text.count("\n", 0, block.start()) + 1
            found.append(Example(line, block["language"], block["text"], None))
            end_of_code = block.end()
        elif found and not text[end_of_code : block.start()].strip():
            is_json = block["language"] == "json"
            found[-1] = replace(found[-1], expected=json.loads(block["text"]) if is_json else Lines(block["text"]))
    return found


def variables(page: Path) -> dict[str, str]:
    """The variables that the product must be started with for the examples of a page; usually none."""
    found = _VARIABLES.search(page.read_text(encoding="utf-8"))
    named = found["variables"].split() if found else []
    return dict(name.split("=", 1) for name in named)


def faults_of(expected: Any, printed: str) -> list[str]:
    """How an example's output differs from what the page shows."""
    if expected is None:
        return []
    if not isinstance(expected, Lines):
        return differences(expected, json.loads(printed))
    shown, found = expected.split("\n"), printed.split("\n")
    # Between examples there is an empty line, which no page shows.
    shown, found = [line for line in shown if line], [line for line in found if line]
    return [] if shown == found else [f"it printed {found}, the page shows {shown}"]


def differences(expected: Any, printed: Any, place: str = "$") -> list[str]:
    """Where what was printed is not what the page shows."""
    if expected == ANYTHING:
        return []
    if isinstance(expected, dict) and isinstance(printed, dict):
        shown = {name: value for name, value in expected.items() if name != ANYTHING}
        found = [f"{place}.{name} is missing" for name in shown if name not in printed]
        if ANYTHING not in expected:
            found += [f"{place}.{name} is not on the page" for name in printed if name not in shown]
        for name in shown.keys() & printed.keys():
            found += differences(shown[name], printed[name], f"{place}.{name}")
        return found
    if isinstance(expected, list) and isinstance(printed, list):
        shown_items = expected[:-1] if expected and expected[-1] == ANYTHING else expected
        if len(printed) < len(shown_items) or (shown_items is expected and len(printed) > len(expected)):
            return [f"{place} has {len(printed)} items, the page shows {len(shown_items)}"]
        pairs = enumerate(zip(shown_items, printed, strict=False))
        return [fault for place_, (one, other) in pairs for fault in differences(one, other, f"{place}[{place_}]")]
    return [] if expected == printed else [f"{place} is {printed!r}, the page shows {expected!r}"]


def run(page: Path, language: str, environ: Mapping[str, str], folder: Path) -> None:
    """Run all examples of a page in one language; fails with the block's place and what it printed."""
    blocks = [example for example in examples(page) if example.language == language]
    ends = [BOUNDARY.format(number=number) for number in range(len(blocks))]
    if language == "sh":
        pieces = [f"{block.code}\necho; echo {end!r}" for block, end in zip(blocks, ends, strict=True)]
        command = ["bash", "-c", "set -euo pipefail\n" + "\n".join(pieces)]
    else:
        pieces = [f"{block.code}\nprint(); print({end!r})" for block, end in zip(blocks, ends, strict=True)]
        command = [sys.executable, "-W", "error", "-c", "\n".join(pieces)]
    done = subprocess.run(
        command, env=dict(environ), cwd=folder, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    rest = done.stdout
    for block, end in zip(blocks, ends, strict=True):
        printed, found, rest = rest.partition(end)
        where = f"{page.name}:{block.line}"
        assert found, f"{where} failed\n{printed[-3000:]}\n{done.stderr[-3000:]}"
        faults = faults_of(block.expected, printed)
        assert not faults, f"{where}: {faults}\n{printed[-3000:]}"
    assert done.returncode == 0, done.stderr[-3000:]
