"""The source of metrics about findings."""

from collections.abc import Sequence
from typing import Final

from offerhub.findings import store
from offerhub.runtime.database import Database
from offerhub.runtime.metrics import Reading, Source

FINDINGS_SECONDS: Final = 15.0


def source(database: Database) -> Source:
    """Findings that are not resolved, by kind and status."""

    async def read() -> Sequence[Reading]:
        rows = await database.run(store.unresolved_by_kind, read_only=True)
        return (
            Reading("offerhub_findings", "Findings that are not resolved, by kind and status.",
                    [((row["kind"], row["status"]), row["findings"]) for row in rows], ("kind", "status")),
        )  # fmt: skip

    return Source("findings", FINDINGS_SECONDS, read)
