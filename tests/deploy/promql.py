"""What expressions of PromQL name, by Prometheus' own grammar."""

from collections.abc import Iterator
from typing import Any

import promql_parser


def selectors(expression: str) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Each metric that an expression reads, with what it asks of labels: alternatives of a pattern one by one."""
    for node in _nodes(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.VectorSelector):
            yield node.name or "", {one.name: one.value.split("|") for one in node.matchers.matchers}


def grouped_by(expression: str) -> set[str]:
    """The labels that an expression groups or joins by."""
    found: set[str] = set()
    for node in _nodes(promql_parser.parse(expression)):
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql_parser.AggregateExpr) and modifier is not None:
            found |= set(modifier.labels)
        if isinstance(node, promql_parser.BinaryExpr) and modifier is not None and modifier.matching is not None:
            found |= set(modifier.matching.labels)
    return found


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    children = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "param", "vector_selector")]
    for child in [*children, *getattr(node, "args", ())]:
        if child is not None:
            yield from _nodes(child)
