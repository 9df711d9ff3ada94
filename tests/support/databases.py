"""Databases of a test's own, with the current schema."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg


@asynccontextmanager
async def cloned(server_url: str, template_url: str) -> AsyncIterator[str]:
    """The URL of a new database like the template, gone in the end."""
    name = f"offerhub_test_own_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f'CREATE DATABASE {name} TEMPLATE "{urlsplit(template_url).path[1:]}"')
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()
