"""The error catalogue as tables, in the order and the groups of the module that declares it."""

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from typing import Final

from offerhub import errors
from offerhub.edge.idempotency import is_final
from offerhub.errors import Refusal
from reference_pages.markdown import table

BLOCK: Final = "`src/offerhub/errors.py`"
_GROUP = re.compile(r"^# -- (?P<title>.*?) -+$")
_PAGE_GROUP: Final = "the service"
"""Above the first group there is what can happen to any request."""


def declared() -> list[type[Refusal]]:
    """Every refusal of the catalogue, in the order of its declaration."""
    found = {one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, Refusal)}
    return sorted(found - {Refusal}, key=_line)


def render() -> str:
    """The block of the page."""
    return "\n\n".join(f"### {_title(title)}\n\n{_table(group)}" for title, group in _groups())


def anchor(code: str) -> str:
    """Where a code is described on the page."""
    return code.lower()


def repeating(refusal: type[Refusal]) -> str:
    """Whether to repeat a request that was refused like this, and with which key."""
    if is_final(refusal()):
        return "once mended, with a new key"
    if refusal.status in (401, 403):
        return "once mended, with the same key"
    return "later, with the same key"


def _line(refusal: type[Refusal]) -> int:
    return _lines()[refusal.__name__]


@functools.cache
def _lines() -> dict[str, int]:
    """Where each class is declared. The module is read once: `inspect` would read it for every class anew."""
    tree = ast.parse(inspect.getsource(errors))
    return {node.name: node.lineno for node in tree.body if isinstance(node, ast.ClassDef)}


def _groups() -> Iterator[tuple[str, list[type[Refusal]]]]:
    lines = inspect.getsource(errors).splitlines()
    starts = [(number, found["title"]) for number, line in enumerate(lines, 1) if (found := _GROUP.match(line))]
    ends = [number for number, _ in starts[1:]] + [len(lines) + 1]
    yield _PAGE_GROUP, [one for one in declared() if _line(one) < starts[0][0]]
    for (start, title), end in zip(starts, ends, strict=True):
        yield title, [one for one in declared() if start < _line(one) < end]


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(group: list[type[Refusal]]) -> str:
    head = ("code", "status", "when", "do", "repeat", "in `details`")
    return table(head, (_row(one) for one in group))


def _row(one: type[Refusal]) -> tuple[str, ...]:
    # A class that only refines another has its code: the anchor is the first one's.
    first = next(other for other in declared() if other.code == one.code)
    named = f'<a id="{anchor(one.code)}"></a>`{one.code}`' if one is first else f"`{one.code}`"
    wait = one.retry_after_seconds
    after = f", after {wait} s (`Retry-After`)" if wait is not None else ""
    facts = "<br>".join(f"`{name}`: {meaning}" for name, meaning in one.facts.items())
    return (named, str(one.status), one().message, one.remedy, repeating(one) + after, facts)
