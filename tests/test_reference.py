"""The pages of docs/reference/ that are made from the code are what the code says, and the code says enough."""

import ast
from pathlib import Path
from typing import Final

import pytest

import offerhub
import write_reference
from offerhub.errors import InsufficientFunds, InvalidState, RateLimited, Unauthorized
from reference_pages import errors
from reference_pages.markdown import block, filled, table

FILES: Final = write_reference.files()
REFUSALS: Final = {one.__name__: one for one in errors.declared()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(write_reference.REFERENCE)))
def test_a_page_is_what_the_code_says(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == FILES[file], "run `make docs`"


def test_every_error_is_on_the_page_with_what_to_do() -> None:
    page = errors.render()
    for refusal in errors.declared():
        assert f"`{refusal.code}` | {refusal.status} |" in page
        assert refusal.remedy, refusal.code
    assert page.count("<a id=") == len({refusal.code for refusal in errors.declared()})


def test_an_error_says_whether_to_repeat_and_with_which_key() -> None:
    assert errors.repeating(InsufficientFunds) == "once mended, with a new key"
    assert errors.repeating(InvalidState) == "once mended, with a new key"
    assert errors.repeating(Unauthorized) == "once mended, with the same key"
    assert errors.repeating(RateLimited) == "later, with the same key"


def test_what_an_error_details_is_declared() -> None:
    raised = [
        (REFUSALS[call.func.id], keyword.arg, f"{file.name}:{call.lineno}")
        for file in Path(offerhub.__file__).parent.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in REFUSALS
        for keyword in call.keywords
        if keyword.arg is not None
    ]
    assert len(raised) > 100
    assert [place for refusal, name, place in raised if name not in refusal.facts] == []


def test_only_the_block_of_a_page_is_written() -> None:
    page = f"# A page\n\n{block('the code', 'old')}\nBy hand.\n"
    assert filled(page, "the code", "new") == f"# A page\n\n{block('the code', 'new')}\nBy hand.\n"
    with pytest.raises(ValueError, match="0 blocks 'something else'"):
        filled(page, "something else", "new")
    with pytest.raises(ValueError, match="2 blocks"):
        filled(page + page, "the code", "new")


def test_a_cell_cannot_end_its_row() -> None:
    assert table(["a"], [["x | y\nz"]]).splitlines()[-1] == r"| x \| y z |"
