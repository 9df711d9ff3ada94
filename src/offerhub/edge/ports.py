"""What the edge needs from the rest of the product, as protocols: the composition root passes the real ones."""

from typing import Protocol

from offerhub.errors import Refusal
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx


class Authenticator(Protocol):
    """Turns a credential into the actor it stands for."""

    async def __call__(self, credential: str, marketplace_id: str | None) -> Actor:
        """The caller; `marketplace_id` is what the header `X-Marketplace-Id` names.

        Raises Unauthorized, InvalidApiKey, or MarketplaceNotFound when the caller may not act there.
        """
        ...


class Gate(Protocol):
    """Whether changes are accepted at all."""

    async def refusal(self) -> Refusal | None:
        """Why they are not accepted now, None when they are."""
        ...


class SagaWaiter(Protocol):
    """The saga engine, as far as a request waits for it."""

    async def wait(self, saga_id: str, seconds: float) -> None:
        """Drive the saga until it ends or the time is up."""
        ...

    async def refusal(self, tx: Tx, saga_id: str) -> Refusal | None:
        """Why the saga was refused, or None when it was not."""
        ...

    async def is_terminal(self, tx: Tx, saga_id: str) -> bool:
        """True when the saga has ended, either way."""
        ...
