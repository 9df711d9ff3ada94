"""Write what is made from the code in docs/reference/: whole files, and blocks of pages that people write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from offerhub.app import Product
from offerhub.edge import openapi
from offerhub.kernel.version import VERSION
from offerhub.runtime.routes import Route
from offerhub.settings import render_reference
from reference_pages import commands, errors, events, jobs, states
from reference_pages.markdown import filled
from reference_pages.operations import BLOCK, Reference

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"


def declared_routes() -> tuple[Route, ...]:
    """Every route of the product. Handlers are bound to nothing: a declaration needs no database."""
    blank: Any = type("Blank", (), {"__getattr__": lambda self, _: self, "__call__": lambda self, *a, **k: self})()
    return Product.routes(blank, {}, blank)


def openapi_json(document: Mapping[str, Any]) -> str:
    """The API's document, one line for each value, so that a change of the API is a readable diff."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def files() -> dict[Path, str]:
    """Every file that holds something made from the code, as it should be."""
    routes = declared_routes()
    document = openapi.document(routes, version=VERSION)
    found = {
        REFERENCE / "configuration.md": render_reference(),
        REFERENCE / "openapi.json": openapi_json(document),
    }
    reference = Reference(routes, document)
    blocks = {
        REFERENCE / "states.md": (states.BLOCK, states.render(), ""),
        REFERENCE / "jobs.md": (jobs.BLOCK, jobs.render(), ""),
        REFERENCE / "cli.md": (commands.BLOCK, commands.render(), ""),
        REFERENCE / "events.md": (events.BLOCK, events.render(), ""),
        REFERENCE / "errors.md": (errors.BLOCK, errors.render(), ""),
        REFERENCE / "api" / "README.md": (BLOCK, reference.index(), ""),
    }
    for domain in reference.domains:
        page = REFERENCE / "api" / f"{domain}.md"
        blocks[page] = (BLOCK, reference.page(domain), reference.new_page(domain))
    for page, (name, text, new) in blocks.items():
        found[page] = filled(page.read_text(encoding="utf-8") if page.exists() else new, name, text)
    return found


def main() -> None:
    """Write every file."""
    for file, text in files().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
