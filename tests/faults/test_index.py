"""The index of faults: each one of the sandbox's table has a test in this folder that carries its number."""

import ast
import re
from pathlib import Path

import pytest

from support.documented import ROOT

HERE = Path(__file__).parent
GUIDE = (ROOT / "docs" / "guides" / "sandbox.md").read_text(encoding="utf-8")
OPERATING = (ROOT / "docs" / "operating" / "faults.md").read_text(encoding="utf-8")
NUMBERS = re.findall(r"^\| (F\d+) \|", GUIDE, re.MULTILINE)


def _tests() -> dict[str, list[str]]:
    """Number of a fault to the tests that carry it, as `file::function`."""
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            numbers = re.match(r"test_((?:f\d\d_)+)", node.name)
            for number in re.findall(r"f(\d\d)_", numbers[1]) if numbers else ():
                found.setdefault(f"F{int(number)}", []).append(f"{path.relative_to(HERE)}::{node.name}")
    return found


TESTS = _tests()


def test_the_table_is_the_one_we_know() -> None:
    assert [f"F{number}" for number in range(1, 27)] == NUMBERS
    assert set(TESTS) <= set(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_fault_has_a_test(number: str) -> None:
    assert TESTS.get(number), f"no test in tests/faults is named test_{number.lower()}_…"


@pytest.mark.parametrize("number", NUMBERS)
def test_every_fault_is_in_the_operator_s_table_with_a_command_that_finds_its_tests(number: str) -> None:
    [row] = re.findall(rf"^\| {number} \|.*$", OPERATING, re.MULTILINE)
    [wanted] = re.findall(r"`pytest tests/faults -k (\w+)`", row)
    assert wanted == f"f{int(number[1:]):02d}"
