"""The API's operations, a page for each group of them, from the API's own document and the declared routes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from offerhub.edge.openapi_text import TAGS
from offerhub.runtime.routes import Document, Envelope, Redirect, Route, Stream
from reference_pages import errors
from reference_pages.markdown import slug, table
from reference_pages.schemas import kind, meaning, properties, references

BLOCK: Final = "the declared routes"

_SHARED: Final = frozenset({"Meta", "Pagination", "PaginationInBothSpellings", "ErrorDetails", "FieldFault"})
"""Components of every envelope, which the index explains."""

_ENVELOPES: Final[Mapping[Envelope, str]] = {
    Envelope.DATA: "`data`: {}",
    Envelope.SUCCESS: "`data`: {}, beside `success: true`",
    Envelope.FLAT: "the fields of {} at the top, and once more in `data`",
    Envelope.LIST: "`data`: array of {}, a [page](../pagination.md)",
    Envelope.PAGE: "`data`: array of {}, a [page](../pagination.md)",
}
_HEADINGS: Final = {
    "access": "Keys and marketplaces",
    "wallet": "Wallets",
    "balance": "Balances",
    "topups": "Top-ups",
    "audit": "The audit trail",
    "documentation": "The API's document",
    "idempotency": "What became of a request",
}


class Reference:
    """All pages of one document."""

    def __init__(self, routes: Sequence[Route], document: Mapping[str, Any]) -> None:
        self._document = document
        self._components: Mapping[str, Any] = document["components"]["schemas"]
        self._by_domain: dict[str, list[Route]] = {
            domain: found for domain in TAGS if (found := [route for route in routes if route.domain == domain])
        }
        self._home = self._homes()

    @property
    def domains(self) -> Sequence[str]:
        """The groups of operations, in the order in which a reader meets them."""
        return list(self._by_domain)

    def title(self, domain: str) -> str:
        """A group's heading."""
        return _HEADINGS.get(domain, domain.capitalize())

    def new_page(self, domain: str) -> str:
        """A page that nobody has written anything for yet, with an empty block."""
        return f"# {self.title(domain)}\n\n{TAGS[domain]}\n\n<!-- from {BLOCK} -->\n<!-- end -->\n"

    def index(self) -> str:
        """Every operation, by group."""
        return "\n\n".join(
            f"### [{self.title(domain)}]({domain}.md)\n\n{TAGS[domain]}\n\n"
            + table(
                ("operation", "does", "scope"),
                ((self._link(route, domain), route.summary.removesuffix("."), _scope(route)) for route in routes),
            )
            for domain, routes in self._by_domain.items()
        )

    def page(self, domain: str) -> str:
        """The block of a group's page: its operations, then the objects that are described here."""
        routes = self._by_domain[domain]
        objects = sorted(name for name, home in self._home.items() if home == domain)
        parts = ["## Operations", *(self._operation(route, domain) for route in routes)]
        if objects:
            parts += ["## Objects", *(self._object(name, domain) for name in objects)]
        return "\n\n".join(parts)

    def _homes(self) -> dict[str, str]:
        """Each object is described where it is met first: with the first group whose answers or bodies hold it."""
        found: dict[str, str] = {}
        for domain, routes in self._by_domain.items():
            for route in routes:
                operation = self._operation_of(route)
                body = {route.body.__name__} if route.body is not None else set()
                told = [operation["responses"][str(status)] for status in (route.status, *route.also)]
                for name in self._reached([told, operation.get("requestBody", {})]):
                    if name not in body:
                        found.setdefault(name, domain)
        return found

    def _reached(self, schema: Any) -> Iterator[str]:
        waiting, seen = list(references(schema)), set(_SHARED)
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self._components:
                continue
            seen.add(name)
            yield name
            waiting += references(self._components[name])

    def _operation_of(self, route: Route) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._document["paths"][route.path][route.method.lower()]
        return found

    def _link(self, route: Route, domain: str) -> str:
        return f"[`{route.method} {route.path}`]({domain}.md#{slug(f'{route.method} {route.path}')})"

    def _address(self, name: str, domain: str) -> str:
        home = self._home.get(name, domain)
        return f"#{slug(name)}" if home == domain else f"{home}.md#{slug(name)}"

    def _object(self, name: str, domain: str) -> str:
        schema = self._components[name]
        told = properties(schema, lambda other: self._address(other, domain), "always")
        return f"### {name}\n\n{schema.get('description', '')}\n\n{told}"

    def _operation(self, route: Route, domain: str) -> str:
        operation = self._operation_of(route)
        facts = [
            f"`{route.name}`",
            _scope(route),
            *([f"`Idempotency-Key`: {_kept(operation)}"] if route.takes_key else []),
        ]
        parts = [
            f"### `{route.method} {route.path}`",
            f"{route.summary.removesuffix('.')}.",
            route.description.strip(),
            " · ".join(facts),
            self._parameters(operation, domain),
            self._body(route, domain),
            self._answer(route, operation, domain),
            self._refusals(route, operation),
        ]
        return "\n\n".join(part for part in parts if part)

    def _parameters(self, operation: Mapping[str, Any], domain: str) -> str:
        rows = [
            (
                f"`{one['name']}`",
                f"in the {one['in']}",
                kind(one["schema"], lambda name: self._address(name, domain)),
                meaning(one["schema"], one.get("description", "")),
            )
            for one in operation["parameters"]
            if "$ref" not in one
        ]
        return table(("parameter", "where", "type", "meaning"), rows)

    def _body(self, route: Route, domain: str) -> str:
        if route.body is None:
            return ""
        fields = properties(self._body_schema(route), lambda name: self._address(name, domain))
        return f"Body{' (may be left out)' if route.body_optional else ''}:\n\n{fields or 'An empty object.'}"

    def _body_schema(self, route: Route) -> Mapping[str, Any]:
        schema = self._operation_of(route)["requestBody"]["content"]["application/json"]["schema"]
        found: Mapping[str, Any] = self._components[next(references(schema))]
        return found

    def _answer(self, route: Route, operation: Mapping[str, Any], domain: str) -> str:
        statuses = " or ".join(
            f"`{status}` ({_said(operation['responses'][str(status)])})"
            for status in sorted({route.status, *route.also}, key=lambda status: status != route.status)
        )
        if route.answer is Redirect:
            return f"Answer {statuses}: the header `Location`."
        if route.answer in (Document, Stream):
            return f"Answer {statuses}: `{route.media_type}`."
        return f"Answer {statuses}: {_ENVELOPES[route.envelope].format(self._content(route, operation, domain))}."

    def _content(self, route: Route, operation: Mapping[str, Any], domain: str) -> str:
        schema = operation["responses"][str(route.status)]["content"]["application/json"]["schema"]
        if route.envelope is Envelope.FLAT:
            found = schema["allOf"][0]
        else:
            found = schema["properties"]["data"]
            found = found["items"] if route.envelope in (Envelope.LIST, Envelope.PAGE) else found
        return kind(found, lambda name: self._address(name, domain))

    def _refusals(self, route: Route, operation: Mapping[str, Any]) -> str:
        own = sorted({(one.status, one.code, one().message) for one in route.errors})
        codes = {code for _, code, _ in own}
        rest = [f"`{code}`" for code in dict.fromkeys(self._codes(operation)) if code not in codes]
        rows = [(str(status), f"[`{code}`](../errors.md#{errors.anchor(code)})", told) for status, code, told in own]
        shared = f"{'And' if own else 'Refused'} as [most operations](../errors.md) are: {', '.join(rest)}."
        return "\n\n".join(
            part for part in (table(("status", "refused with", "when"), rows), shared if rest else "") if part
        )

    def _codes(self, operation: Mapping[str, Any]) -> Iterator[str]:
        for response in operation["responses"].values():
            if "$ref" in response:
                name = response["$ref"].rpartition("/")[2]
                yield from name.split(".")[1:]


def _scope(route: Route) -> str:
    names = {"public": "no credential", "any": "any credential", "master": "the master key"}
    if route.scope in names:
        return names[route.scope]
    own = f" or `{route.domain}.{route.scope}`" if route.scope != "support" else ""
    return f"scope `{route.scope}`{own}"


def _said(response: Mapping[str, Any]) -> str:
    text = str(response["description"]).removesuffix(".")
    return text[:1].lower() + text[1:]


def _kept(operation: Mapping[str, Any]) -> str:
    """How long the answer is kept, in the words of the operation's own description."""
    told = str(operation["description"]).rpartition("the answer is kept for ")[2]
    return f"kept for {told.removesuffix('.')}"
