"""The invariants are eighteen: each has its file here, its row in the documentation, and checks that can fail."""

import importlib
import re
from pathlib import Path

import pytest

from offerhub.operations.checks import CHECKS

FILES = {int(path.name[6:8]): path for path in Path(__file__).parent.glob("test_i[0-9][0-9]_*.py")}
DOCS = Path(__file__).parents[2] / "docs"
EIGHTEEN = range(1, 19)


@pytest.mark.parametrize("number", EIGHTEEN)
def test_each_has_a_file_a_guard_and_a_row_in_the_documentation(number: int) -> None:
    module = importlib.import_module(FILES[number].stem)
    assert module.__doc__ is not None
    assert module.__doc__.startswith(f"I{number}: ")
    assert module.REFUSED
    assert module.FOUND
    row = re.compile(rf"^\| I{number} \| .+", re.MULTILINE)
    for page in ("architecture.md", "operating/guarantees.md"):
        assert len(row.findall((DOCS / page).read_text(encoding="utf-8"))) == 1, page


def test_there_are_no_others() -> None:
    assert sorted(FILES) == list(EIGHTEEN)
    assert {check.invariant for check in CHECKS} == {f"I{number}" for number in EIGHTEEN}


def test_every_check_is_seen_to_fail() -> None:
    modules = [importlib.import_module(path.stem) for path in FILES.values()]
    seen = {sentence for module in modules for _, sentences in module.FOUND.values() for sentence in sentences}
    assert seen == {check.sentence for check in CHECKS}
