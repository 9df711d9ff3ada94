"""No route escapes: each is claimed by a test of this suite, and a claim is held to what was heard."""

import importlib
from pathlib import Path
from typing import Any

from support.routes import all_routes
from support.wire import OTHER_SUITES


def marks_of(test: Any) -> list[Any]:
    """The marks of a test, and those of its cases."""
    own = list(getattr(test, "pytestmark", []))
    for mark in list(own):
        if mark.name == "parametrize":
            own += [inner for case in mark.args[1] for inner in getattr(case, "marks", ())]
    return own


def claimed() -> dict[str, str]:
    """Every claimed route, and the test that claims it."""
    found: dict[str, str] = {}
    for file in sorted(Path(__file__).parent.glob("test_contract_*.py")):
        module = importlib.import_module(file.stem)
        for name, test in vars(module).items():
            if not name.startswith("test_"):
                continue
            for mark in marks_of(test):
                if mark.name == "claims":
                    found.update(dict.fromkeys(mark.args, f"{file.stem}.{name}"))
    return found


def test_every_route_is_claimed() -> None:
    routes = {f"{route.method} {route.path}" for route in all_routes()}
    assert routes - set(claimed()) - OTHER_SUITES == set(), "a route without a case"
    assert set(claimed()) - routes == set(), "a case of a route that is gone"
