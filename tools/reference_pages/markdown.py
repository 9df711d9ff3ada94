"""Markdown, and the blocks of a page that `make docs` writes: the rest of such a page is written by hand."""

import re
from collections.abc import Iterable, Sequence

_BLOCK = re.compile(r"<!-- from (?P<name>[^\n]*) -->\n.*?<!-- end -->\n", re.DOTALL)


def block(name: str, text: str) -> str:
    """A block with this text. `name` says in the page where the text comes from."""
    return f"<!-- from {name} -->\n\n{text.strip()}\n\n<!-- end -->\n"


def filled(page: str, name: str, text: str) -> str:
    """The page with this text in the one block of this name. Raises ValueError when there is not exactly one."""
    found = [match for match in _BLOCK.finditer(page) if match["name"] == name]
    if len(found) != 1:
        raise ValueError(f"the page has {len(found)} blocks {name!r} instead of one")
    return page[: found[0].start()] + block(name, text) + page[found[0].end() :]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing when there are no rows."""
    lines = [" | ".join(cell(one) for one in row) for row in rows]
    if not lines:
        return ""
    return "\n".join(f"| {line} |" for line in (" | ".join(head), " | ".join("---" for _ in head), *lines))


def cell(text: str) -> str:
    """Text as a table's cell: on one line, and without what would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
