"""The planted bugs fit the product as it is, and name tests that there are; `make prove-harness` then runs them."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import planted

ROOT = Path(__file__).resolve().parents[2]
BUGS = planted.read(ROOT)
DEFECTS = [f"R{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12)]
"""Of the comparable system. R9 is a part that it lacks, and R13 follows from the whole ledger."""


def test_there_is_a_bug_for_every_defect() -> None:
    planted_defects = {name for bug in BUGS for name in re.findall(r"R\d+", bug.plants)}
    assert [name for name in DEFECTS if name not in planted_defects] == []
    assert len({bug.name.partition("-")[0] for bug in BUGS}) == len(BUGS) >= 16


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_a_bug_fits_and_its_test_is_there(bug: planted.Planted, tmp_path: Path) -> None:
    for file in {change.file for change in bug.changes}:
        assert file.startswith("src/offerhub/")
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    for file, before in bug.put_into(tmp_path).items():
        after = file.read_text(encoding="utf-8")
        assert after != before
        if file.suffix == ".py":
            compile(after, file.name, "exec")
    tests = ast.parse((ROOT / bug.test_file).read_text(encoding="utf-8")).body
    assert bug.test_name in [one.name for one in tests if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_a_bug_that_does_not_fit_is_told_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    one, two = tmp_path / "src" / "one.py", tmp_path / "src" / "two.py"
    one.write_text("a = 1\n")
    two.write_text("b = 2\nb = 2\n")
    changes = [planted.Change("src/one.py", "a = 1\n", "a = 3\n"), planted.Change("src/two.py", "b = 2\n", "b = 4\n")]
    bug = planted.Planted("99-twice", "It stands there twice.", "tests/x.py", "test_x", changes)
    with pytest.raises(planted.DoesNotFit, match=r"2 times in src/two\.py"):
        bug.put_into(tmp_path)
    assert one.read_text() == "a = 1\n"


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (("    if not _WIRE.fullmatch(text):\n", "    if not _WIRE.match(text):\n"), "caught: 1"),
        (('"""Units to two decimals, floored', '"""Units with two decimals, floored'), "SURVIVED"),
        (("import re\n", "import no_such_module\n"), "planted badly"),
    ],
)
def test_the_command_tells_what_its_tests_said(change: tuple[str, str], outcome: str, tmp_path: Path) -> None:
    """A bug that is noticed, one that is none, and one that lets no test run; in a copy of this very tree."""
    for name in ("src", "tests", "tools", "pyproject.toml"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, tmp_path / name)
    shutil.rmtree(tmp_path / planted.FOLDER)
    (tmp_path / planted.FOLDER).mkdir()
    before, after = change
    text = (
        "Plants: something.\nCaught-by: tests/kernel/test_money.py::test_refuses_everything_but_two_decimals\n\n"
        "--- a/src/offerhub/kernel/money.py\n+++ b/src/offerhub/kernel/money.py\n@@ -1 +1 @@\n"
    )
    lines = (ROOT / "src/offerhub/kernel/money.py").read_text().splitlines(keepends=True)
    line = next(one for one in lines if before in one)
    text += f"-{line}+{line.replace(before, after)}"
    (tmp_path / planted.FOLDER / "01-x.patch").write_text(text)
    ran = subprocess.run(
        [sys.executable, tmp_path / "tools" / "prove_harness.py"], capture_output=True, text=True, check=False
    )
    assert outcome in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == (0 if outcome == "caught: 1" else 1)
