"""The trace: every statement, call, answer and fault in its order; two runs of a seed have one hash."""

import hashlib
from collections import Counter, deque
from typing import Final

KEPT: Final = 400
"""The last events, for whoever looks into a failure."""


class Trace:
    """Hashes what happens, and counts it."""

    def __init__(self, echo: bool = False) -> None:
        self._hash = hashlib.sha256()
        self._echo = echo
        self.counts: Counter[str] = Counter()
        self.last: deque[str] = deque(maxlen=KEPT)
        self.events = 0

    def add(self, moment: float, who: str, what: str, told: str = "") -> None:
        """Something happened."""
        line = f"{moment:.6f} {who} {what} {told}"
        self._hash.update(line.encode("utf-8", "surrogatepass"))
        self.events += 1
        self.last.append(line)
        if self._echo:
            print(line)

    def count(self, what: str) -> None:
        """Count a kind of thing, for the summary."""
        self.counts[what] += 1

    @property
    def hash(self) -> str:
        """What two runs of one seed have in common."""
        return self._hash.hexdigest()[:32]
