"""Write the files of docs/reference/ that are made from the code."""  # noqa: INP001 (a script, not a package)

from pathlib import Path
from typing import Any

import msgspec

from offerhub.app import VERSION, Product
from offerhub.edge import openapi
from offerhub.runtime.routes import Route
from offerhub.settings import render_reference

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"


def declared_routes() -> tuple[Route, ...]:
    """Every route of the product. Handlers are bound to nothing: a declaration needs no database."""
    blank: Any = type("Blank", (), {"__getattr__": lambda self, _: self, "__call__": lambda self, *a, **k: self})()
    return Product.routes(blank, {}, blank)


def openapi_json() -> bytes:
    """The API's document, one line for each value, so that a change of the API is a readable diff."""
    document = openapi.document(declared_routes(), version=VERSION)
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def main() -> None:
    """Write every file."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    (REFERENCE / "configuration.md").write_text(render_reference(), encoding="utf-8")
    (REFERENCE / "openapi.json").write_bytes(openapi_json())


if __name__ == "__main__":
    main()
