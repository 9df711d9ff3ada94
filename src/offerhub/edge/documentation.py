"""The API's document and its page, as routes: `GET /openapi.json` and `GET /docs`.

Both are made once, from all routes, their own among them. The page asks for nothing else: it holds its style, has no
script, and its policy allows neither.
"""

import functools
from collections.abc import Sequence
from typing import Any

import msgspec

from offerhub.edge import openapi
from offerhub.runtime.routes import Call, Document, Envelope, Route


def routes(others: Sequence[Route], *, version: str) -> tuple[Route, ...]:
    """The two routes. `others` are all other routes of the product."""

    @functools.cache
    def described() -> dict[str, Any]:
        return openapi.document((*others, *own), version=version)

    @functools.cache
    def machine() -> Document:
        return Document(msgspec.json.encode(described()), "application/json")

    @functools.cache
    def page() -> Document:
        # Only here: a process of whose API nobody reads the page needs no Markdown.
        from offerhub.edge import documentation_page

        written = documentation_page.render(described())
        return Document(written.content, "text/html; charset=utf-8", written.content_security_policy)

    async def read_machine(call: Call) -> Document:
        return machine()

    async def read_page(call: Call) -> Document:
        return page()

    public: dict[str, Any] = {
        "scope": "public",
        "domain": "documentation",
        "envelope": Envelope.DATA,
        "unit": "none",
        "answer": Document,
    }
    own = (
        Route(
            "GET",
            "/openapi.json",
            "documentation.openapi",
            "Read this API's OpenAPI document",
            read_machine,
            **public,
            description="OpenAPI 3.1, made from the routes that are served.",
        ),
        Route(
            "GET",
            "/docs",
            "documentation.page",
            "Read this API's documentation",
            read_page,
            **public,
            description="The same as a page for people. It needs no network and no JavaScript.",
            media_type="text/html",
        ),
    )
    return own
