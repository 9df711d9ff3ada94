"""An application with the routes of access, and what tests do with it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asgi_client import Client
from offerhub.access.authenticator import Credentials
from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.access.tokens import TokenSigner
from offerhub.kernel.clock import ManualClock
from offerhub.kernel.ids import new_id
from offerhub.runtime.database import Database, Row, Tx

MASTER_KEY = "e2e_master_key_for_testing_only"


@dataclass
class Office:
    """The application, its clock and its database."""

    app: Any
    database: Database
    clock: ManualClock
    signer: TokenSigner
    credentials: Credentials

    @property
    def master(self) -> Client:
        return Client(self.app, MASTER_KEY)

    def caller(self, credential: str) -> Client:
        return Client(self.app, credential)

    async def key(self, *scopes: str, **more: Any) -> dict[str, Any]:
        """A new key, made by the master."""
        heard = await self.master.post("/auth/api-keys", {"name": "k", "scopes": list(scopes), **more})
        assert heard.status == 201, heard.body
        made: dict[str, Any] = heard.data
        return made

    async def rows(self, sql: str, *args: Any) -> Sequence[Row]:
        async def reading(tx: Tx) -> Sequence[Row]:
            return await tx.rows(sql, *args)

        return await self.database.run(reading)

    async def user(self, marketplace_id: str = DEFAULT_MARKETPLACE_ID) -> str:
        """A user of the marketplace."""
        user_id = new_id("usr")

        async def inserting(tx: Tx) -> None:
            await tx.execute(
                "INSERT INTO users (id, marketplace_id, external_user_id, type) VALUES ($1, $2, $3, 'BOTH')",
                user_id,
                marketplace_id,
                secrets.token_hex(8),
            )

        await self.database.run(inserting)
        return user_id

    async def marketplace(self) -> str:
        """A new marketplace."""
        heard = await self.master.post("/admin/marketplaces", {"name": secrets.token_hex(8)})
        assert heard.status == 201
        made: str = heard.data["id"]
        return made
