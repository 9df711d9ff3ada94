"""Every example in the documentation for integrators works as it stands on the page."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from offerhub.edge.openapi_states import MACHINES
from support.documented import ROOT, Lines, differences, examples, faults_of, run, variables
from support.product import MASTER_KEY, Marketplace, Running, running

GUIDES: Final = (
    "deposits",
    "disputes",
    "escrow",
    "events",
    "first-integration",
    "milestone-payouts",
    "policies",
    "withdrawals",
)
"""All but those of the sandbox and of webhooks, which have tests of their own."""
PAGES: Final = (
    *sorted((ROOT / "docs" / "reference").rglob("*.md")),
    *(ROOT / "docs" / "guides" / f"{name}.md" for name in GUIDES),
)
CASES: Final = [
    (page, language) for page in PAGES for language in sorted({example.language for example in examples(page)})
]


STATELESS: Final = ("balance.", "api_key.", "user.airtm_linked")
"""How the events begin that tell of something else than a state."""


@asynccontextmanager
async def product_for(
    page: Path, live: Running, environ: Mapping[str, str], airtm_environ: Mapping[str, str]
) -> AsyncIterator[Running]:
    """The product that a page's examples need: the shared one, unless the page names variables."""
    wanted = variables(page)
    if not wanted:
        yield live
        return
    base = airtm_environ if wanted.get("PAYMENT_PROVIDER") == "airtm" else environ
    async with running({**base, **wanted}) as found:
        yield found


@pytest.mark.parametrize(
    ("page", "language"),
    CASES,
    ids=lambda value: str(value.relative_to(ROOT / "docs")) if isinstance(value, Path) else value,
)
async def test_the_examples_of_a_page_work(
    shop: Marketplace,
    environ: dict[str, str],
    airtm_environ: dict[str, str],
    tmp_path: Path,
    page: Path,
    language: str,
) -> None:
    if language == "sh" and not shutil.which("curl"):
        pytest.skip("the examples need curl")
    async with product_for(page, shop.live, environ, airtm_environ) as live:
        # By the shared product where the books are shared: it has no rate limit that two pages could spend.
        founder = live if variables(page).get("PAYMENT_PROVIDER") == "airtm" else shop.live
        own = await Marketplace.found(founder, shop.world, shop.http)
        session = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "API": f"{live.url}/api/v1",
            "KEY": own.credential,
            "MASTER_KEY": MASTER_KEY,
            "SANDBOX": shop.world.environ["OFFERHUB_SANDBOX_URL"],
            "MARKETPLACE": own.id,
        }
        await asyncio.to_thread(run, page, language, session, tmp_path)
        await live.assert_books_hold()
        assert await undocumented_events(live, own.id) == set()


async def undocumented_events(live: Running, marketplace_id: str) -> set[str]:
    """What was told of in a marketplace and is not on the page of the states."""
    rows = await live.rows("SELECT DISTINCT type FROM events WHERE marketplace_id = $1", marketplace_id)
    known = {event for one in MACHINES for told in one.told.values() for event in told.events}
    return {row["type"] for row in rows if row["type"] not in known and not row["type"].startswith(STATELESS)}


def test_a_wrong_example_is_noticed() -> None:
    shown = {"data": {"id": "…", "status": "OPEN", "…": "…"}, "list": ["a", "…"]}
    assert differences(shown, {"data": {"id": "x", "status": "OPEN", "more": 1}, "list": ["a", "b"]}) == []
    assert differences(shown, {"data": {"id": "x", "status": "CLOSED"}, "list": ["a"]})
    assert differences(shown, {"data": {"status": "OPEN"}, "list": ["a"]})
    assert differences(shown, {"data": {"id": "x", "status": "OPEN"}, "list": ["b"]})
    assert differences({"a": 1}, {"a": 1, "b": 2})
    assert differences([1], [1, 2])
    assert faults_of(Lines("OPEN\nCLOSED\n"), "OPEN\nCLOSED\n\n") == []
    assert faults_of(Lines("OPEN\n"), "OPEN\nCLOSED\n")
