"""The statements that the operator's pages show are statements of this schema."""

import re
from pathlib import Path
from typing import Final

import asyncpg
import pytest

OPERATING: Final = Path(__file__).parents[2] / "docs" / "operating"
BLOCK: Final = re.compile(r"^ *```sql\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
PAGES: Final = {
    page.stem: found
    for page in sorted(OPERATING.glob("*.md"))
    if (found := BLOCK.findall(page.read_text(encoding="utf-8")))
}


@pytest.mark.parametrize("page", PAGES)
async def test_every_statement_of_a_page_can_be_run(fresh_database_url: str, page: str) -> None:
    connection = await asyncpg.connect(fresh_database_url)
    role = await connection.fetchval("SELECT current_user")
    try:
        for block in PAGES[page]:
            change = connection.transaction()
            await change.start()
            # On the pages `offerhub` stands for the role in use.
            await connection.execute(re.sub(r"(ROLE |role = ')offerhub(?=[;'])", rf"\g<1>{role}", block))
            await change.rollback()
    finally:
        await connection.close()
