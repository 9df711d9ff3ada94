"""The use case of audit: search the trail."""

from offerhub.audit import store
from offerhub.audit.model import Search
from offerhub.kernel.pages import Page
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.runtime.paging import PageQuery


async def search(tx: Tx, actor: Actor, wanted: Search, query: PageQuery) -> Page:
    """One page of the entries that the caller may see, newest first. Raises ValidationFailed for a bad cursor."""
    return await store.entries(tx, actor.marketplace_id, wanted, actor.bound_user_id, query)
