"""An application with the route of audit and those of access, whose use cases leave entries."""

from dataclasses import dataclass
from typing import Any

from asgi_client import Client
from offerhub.runtime.database import Database

MASTER_KEY = "a-master-key-of-the-audit-tests"


@dataclass
class Archive:
    """A marketplace of a test's own, and callers in it."""

    app: Any
    database: Database
    marketplace_id: str
    support: Client

    async def key(self, *scopes: str, **more: Any) -> dict[str, Any]:
        """A new key of the marketplace."""
        headers = [("x-marketplace-id", self.marketplace_id)]
        body = {"name": "k", "scopes": list(scopes), **more}
        heard = await Client(self.app, MASTER_KEY).post("/auth/api-keys", body, headers=headers)
        assert heard.status == 201, heard.body
        made: dict[str, Any] = heard.data
        return made

    def caller(self, key: dict[str, Any]) -> Client:
        """Whoever has this key."""
        return Client(self.app, key["key"])

    async def logs(self, query: str = "") -> list[dict[str, Any]]:
        """What the support key is answered."""
        heard = await self.support.get(f"/audit/logs{query}")
        assert heard.status == 200, heard.body
        found: list[dict[str, Any]] = heard.data
        return found
