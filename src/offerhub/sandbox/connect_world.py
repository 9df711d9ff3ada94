"""Connect put together: its store, its books and its faces, behind the option that switches it on."""

from typing import Any, Final

from starlette.routing import BaseRoute, Mount

from offerhub.sandbox.chain import Chain
from offerhub.sandbox.connect import ConnectFace
from offerhub.sandbox.connect_book import ConnectBook
from offerhub.sandbox.connect_control import ConnectControls, switched_off
from offerhub.sandbox.connect_custody import Custody
from offerhub.sandbox.connect_grants import Grants
from offerhub.sandbox.connect_oidc import OpenIdFace
from offerhub.sandbox.connect_store import ConnectStore
from offerhub.sandbox.house import House
from offerhub.sandbox.schedule import Schedule

PREFIX: Final = "/airtm/api/connect/v1"
CONTROLS: Final = "/_sim/airtm/connect"


class ConnectWorld:
    """Everything of Connect in one sandbox."""

    def __init__(self, chain: Chain, house: House, schedule: Schedule) -> None:
        options = chain.options
        self._chain = chain
        self._store = ConnectStore(options.state_file, chain.cast.digest)
        self._custody = Custody(chain, house)
        self._grants = Grants(self._store, chain.now, options.connect_client_id, options.connect_client_secret)
        self.book = ConnectBook(self._store, self._custody, schedule)
        if options.connect_redirect_uris:
            self._grants.register(list(options.connect_redirect_uris))

    def start(self) -> None:
        """Open Airtm's account in a ledger of its own, and listen to the ledgers that follow."""
        self.book.start()
        self._chain.on_close = self.book.ledger_closed
        self._chain.close()

    def dispose(self) -> None:
        """Let go of the file."""
        self._store.close()

    def mounts(self, base_url: str) -> list[BaseRoute]:
        """The faces and the controls."""
        keypair = self._chain.cast.keypair("connect-id-token")
        issuer = OpenIdFace(self._grants, self._chain.now, f"{base_url}{PREFIX}/oidc", keypair)
        face = ConnectFace(self._store, self._grants, self.book, self._chain.now)
        return [
            Mount(f"{PREFIX}/oidc", routes=issuer.routes()),
            Mount(PREFIX, routes=face.routes()),
            Mount(CONTROLS, routes=ConnectControls(self._grants, self.book).routes()),
        ]

    def info(self, base_url: str) -> dict[str, Any]:
        """What a client must know."""
        options = self._chain.options
        return {
            "airtm_connect_url": f"{base_url}{PREFIX}",
            "airtm_connect_issuer": f"{base_url}{PREFIX}/oidc",
            "airtm_connect_client_id": options.connect_client_id,
            "airtm_connect_client_secret": options.connect_client_secret,
            "airtm_connect_account": self._custody.address,
        }


def controls_without() -> list[BaseRoute]:
    """What a sandbox without Connect has in their place."""
    return [Mount(CONTROLS, routes=switched_off())]
