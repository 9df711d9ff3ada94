"""Webhooks out as one process has them: the parts of this slice, tied together."""

from datetime import timedelta

from offerhub.kernel.clock import Clock
from offerhub.runtime.database import Database
from offerhub.runtime.http import HttpClient
from offerhub.runtime.targets import Targets
from offerhub.runtime.vault import Vault
from offerhub.settings import WebhooksOut as Settings
from offerhub.webhook_endpoints import lines
from offerhub.webhook_endpoints.dispatch import Dispatcher, Moment
from offerhub.webhook_endpoints.listening import Listening
from offerhub.webhook_endpoints.sending import Sender
from offerhub.webhook_endpoints.service import Endpoints
from offerhub.webhook_endpoints.settlement import Patience
from offerhub.webhook_endpoints.signing import SecretBox


class WebhooksOut:
    """Endpoints, the dispatcher, the sender and the listeners' side. `close` it in the end."""

    def __init__(
        self, settings: Settings, database: Database, vault: Vault, clock: Clock, moment: Moment = lines.moment
    ) -> None:
        targets, box = Targets(settings.public_targets_only), SecretBox(vault)
        patience = Patience(timedelta(hours=settings.disable_after_hours))
        # A client of its own: addresses that marketplaces name are called under a guard.
        self.http = HttpClient(targets=targets)
        self.endpoints = Endpoints(targets, box)
        self.listening = Listening(database, clock, patience)
        self.dispatcher = Dispatcher(database, clock, moment)
        self.sender = Sender(
            database,
            self.http,
            targets,
            box,
            clock,
            patience,
            timeout_seconds=settings.timeout_seconds,
            moment=moment,
        )

    async def close(self) -> None:
        """Close the connections to the endpoints."""
        await self.http.close()
