"""Real ids in generated requests: a well-formed id that nobody has is exchanged for one that is there, mostly."""

import itertools
import random
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from schemathesis import Case, GenerationMode, Response

EXAMPLE_KEY: Final = "order-4711-reserve"
"""The idempotency key of the document's examples: one key for all would be refused nearly always."""
SHARE: Final = 0.85
"""How much is exchanged. The rest keeps asking for what is not there."""

_ID = re.compile("(?P<kind>usr|ord|dsp|wd|topup|key|mkt|whe|whd)_[0-9A-Za-z]{32}")


class RealIds:
    """What knows the ids of one marketplace: those it began with, and those that its answers have told since.

    `ready` are ids by the operation that they are in the right state for; each is used up by one request that the
    schema allows. `forbidden` is an id that no request may name: the key that sends them.
    """

    def __init__(self, known: Iterable[str], *, ready: Mapping[str, list[str]], forbidden: str, seed: int) -> None:
        self._ready = {operation: list(ids) for operation, ids in ready.items()}
        self._forbidden = forbidden
        self._chance = random.Random(seed)
        self._known: dict[str, list[str]] = {}
        self._all: set[str] = set()
        self._numbers = itertools.count(1)
        for one in itertools.chain(known, *ready.values()):
            self._learn(one)

    def _learn(self, one: str) -> None:
        found = _ID.fullmatch(one)
        if found and one != self._forbidden and one not in self._all:
            self._all.add(one)
            self._known.setdefault(found["kind"], []).append(one)

    def learn(self, response: Response) -> None:
        """Learn the id of what was just made."""
        if response.status_code == 201:
            self._learn(response.json()["data"].get("id", ""))

    def exchange(self, case: Case) -> None:
        """Exchange ids in the path, the query and the body, and the idempotency key of the examples."""
        for part in ("path_parameters", "query", "body"):
            found = getattr(case, part)
            changed = self._exchanged(found)
            if part == "path_parameters":
                changed = self._made_ready(case, changed)
            # Schemathesis judges a part anew that was set, so what stays as it is must not be.
            if changed != found:
                setattr(case, part, changed)
        if case.headers.get("Idempotency-Key") == EXAMPLE_KEY and self._chance.random() < SHARE:
            case.headers["Idempotency-Key"] = f"{EXAMPLE_KEY}-{next(self._numbers)}"

    def _made_ready(self, case: Case, path: dict[str, Any]) -> dict[str, Any]:
        waiting = self._ready.get(case.operation.definition.raw["operationId"])
        allowed = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
        if not waiting or not allowed:
            return path
        kind = waiting[0].partition("_")[0]
        return {
            name: waiting.pop() if waiting and str(value).startswith(f"{kind}_") else value
            for name, value in path.items()
        }

    def _exchanged(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._exchanged(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._exchanged(one) for one in value]
        found = _ID.fullmatch(value) if isinstance(value, str) else None
        if found is None or value in self._all:
            return value
        known = self._known.get(found["kind"])
        # Another marketplace, and the key itself, are never named.
        must = found["kind"] == "mkt" or value == self._forbidden
        if not known or not (must or self._chance.random() < SHARE):
            return value
        return self._chance.choice(known)
