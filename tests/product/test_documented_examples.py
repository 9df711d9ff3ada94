"""Every example in the documentation for integrators works as it stands on the page."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from support.documented import ROOT, differences, examples, run
from support.product import MASTER_KEY, Marketplace

CASES: Final = [
    (page, language)
    for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
    for language in sorted({example.language for example in examples(page)})
]


@pytest.mark.parametrize(
    ("page", "language"), CASES, ids=lambda value: value.name if isinstance(value, Path) else value
)
async def test_the_examples_of_a_page_work(shop: Marketplace, tmp_path: Path, page: Path, language: str) -> None:
    if language == "sh" and not shutil.which("curl"):
        pytest.skip("the examples need curl")
    own = await Marketplace.found(shop.live, shop.world, shop.http)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "API": f"{shop.live.url}/api/v1",
        "KEY": own.credential,
        "MASTER_KEY": MASTER_KEY,
        "SANDBOX": shop.world.environ["OFFERHUB_SANDBOX_URL"],
        "MARKETPLACE": own.id,
    }
    await asyncio.to_thread(run, page, language, environ, tmp_path)
    await shop.live.assert_books_hold()


def test_a_wrong_example_is_noticed() -> None:
    shown = {"data": {"id": "…", "status": "OPEN", "…": "…"}, "list": ["a", "…"]}
    assert differences(shown, {"data": {"id": "x", "status": "OPEN", "more": 1}, "list": ["a", "b"]}) == []
    assert differences(shown, {"data": {"id": "x", "status": "CLOSED"}, "list": ["a"]})
    assert differences(shown, {"data": {"status": "OPEN"}, "list": ["a"]})
    assert differences(shown, {"data": {"id": "x", "status": "OPEN"}, "list": ["b"]})
    assert differences({"a": 1}, {"a": 1, "b": 2})
    assert differences([1], [1, 2])
