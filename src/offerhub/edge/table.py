"""Which route a path and method mean. Built once; paths without parameters are found in one look-up."""

import re
from collections.abc import Mapping, Sequence

from starlette.routing import compile_path

from offerhub.errors import MethodNotAllowed, NotFound, ValidationFailed
from offerhub.runtime.routes import Route

_PARAMETER = re.compile(r"\{[^}]*\}")

Methods = dict[str, Route]
Pattern = tuple[re.Pattern[str], Methods]


class RouteTable:
    """All routes, by path and method. Raises ValueError when two routes claim the same."""

    def __init__(self, routes: Sequence[Route]) -> None:
        by_path: dict[str, Methods] = {}
        spelling: dict[str, str] = {}
        for route in routes:
            # `/orders/{id}` and `/orders/{order_id}` are one path: the second would never be reached.
            if spelling.setdefault(_PARAMETER.sub("{}", route.path), route.path) != route.path:
                raise ValueError(f"the parameters of {route.path} have other names in another route")
            methods = by_path.setdefault(route.path, {})
            if route.method in methods:
                raise ValueError(f"two routes claim {route.method} {route.path}")
            methods[route.method] = route
        self._fixed = {path: methods for path, methods in by_path.items() if "{" not in path}
        self._patterns: dict[int, list[Pattern]] = {}
        for path, methods in by_path.items():
            if "{" in path:
                regex, _, _ = compile_path(path)
                self._patterns.setdefault(path.count("/"), []).append((regex, methods))

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route and its path parameters. Raises NotFound, or MethodNotAllowed naming the allowed methods."""
        methods, parameters = self._match(path)
        route = methods.get(method)
        if route is None:
            raise MethodNotAllowed(allow=sorted({*methods, "HEAD"} if "GET" in methods else methods))
        if any("\0" in value for value in parameters.values()):
            raise ValidationFailed("The path holds a NUL character.")
        return route, parameters

    def _match(self, path: str) -> tuple[Methods, Mapping[str, str]]:
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed, {}
        for regex, methods in self._patterns.get(path.count("/"), ()):
            found = regex.match(path)
            if found:
                return methods, found.groupdict()
        raise NotFound("There is nothing at this path.")
