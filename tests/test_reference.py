"""The pages of docs/reference/ that are made from the code are what the code says, and the code says enough."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import offerhub
import write_reference
from offerhub.errors import InsufficientFunds, InvalidState, RateLimited, Unauthorized
from reference_pages import errors
from reference_pages.markdown import block, filled, table

ROOT: Final = Path(__file__).parents[1]
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


def calls(page: Path) -> Iterator[tuple[str, str]]:
    """Every operation that a page names, or calls in its blocks, as method and path."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`\s]*)", text)
    code = re.compile(r"^ *```(?:sh|text|bash)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
    for lines in code.findall(text.replace("\\\n", " ")):
        for method, path in re.findall(r"\b(get|post) \"?(/[^\s\"';|]*)", lines):
            yield method.upper(), path
        for rest, path in re.findall(r"curl ([^|;\n]*?)(?:\$API|https://(?:your-domain\.com|…))(/[^\s\"']*)", lines):
            named = re.search(r"-X (\w+)", rest)
            yield named[1] if named else "GET", path


def test_every_operation_that_a_page_names_is_there() -> None:
    routes = [
        (one.method, re.compile(re.sub(r"\{\w+\}", "[^/]+", one.path))) for one in write_reference.declared_routes()
    ]
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("README.md")]
    seen = 0
    for page in pages:
        if page.parent.name == "decisions":  # they speak of others' operations, and of what was
            continue
        for method, path in calls(page):
            bare = re.sub(r"\{[^}]*\}", "x", path.partition("?")[0].removeprefix("/api/v1"))
            if bare.startswith(("/_sim/", "/airtm/")) or "$(" in bare:  # the sandbox's; and what only a shell knows
                continue
            assert any(method == one and of.fullmatch(bare) for one, of in routes), f"{page.name}: {method} {path}"
            seen += 1
    assert seen > 500
