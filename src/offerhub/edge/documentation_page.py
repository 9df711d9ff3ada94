"""The page /docs, written from the API's document: semantic HTML and one style sheet, readable without JavaScript."""

import base64
import hashlib
import importlib.resources
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec

from offerhub import errors
from offerhub.edge.documentation_html import Html, element, joined, markdown, markdown_line, void
from offerhub.edge.documentation_schemas import component_anchor, parameter_rows, property_rows, table
from offerhub.edge.openapi_errors import message

ENCODING: Final = "utf-8"
Operation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and the policy under which a browser shows it as it is meant."""

    content: bytes
    content_security_policy: str


def render(document: Mapping[str, Any]) -> Page:
    """The page of this document."""
    style = (importlib.resources.files("offerhub.edge") / "static" / "documentation.css").read_text(ENCODING)
    digest = base64.b64encode(hashlib.sha256(style.encode(ENCODING)).digest()).decode("ascii")
    rest = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; {rest}"
    written = _Writing(document).page(style)
    return Page(f"<!doctype html>\n{written}\n".encode(ENCODING), policy)


def _anchor(operation_id: str) -> str:
    return f"operation-{operation_id}"


class _Writing:
    """One page in the making."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._components = document["components"]
        self._by_tag: dict[str, list[tuple[str, str, Operation]]] = {}
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                self._by_tag.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))

    def page(self, style: str) -> Html:
        info = self._document["info"]
        title = f"{info['title']} {info['version']}: API"
        head = element(
            "head",
            void("meta", charset="utf-8"),
            void("meta", name="viewport", content="width=device-width, initial-scale=1"),
            void("meta", name="color-scheme", content="light dark"),
            element("title", title),
            element("style", Html(style)),
        )
        body = element(
            "body",
            element("a", "Skip to the content", href="#content", class_="skip"),
            self._contents(),
            element("main", self._introduction(), *self._groups(), self._schemas(), self._codes(), id="content"),
        )
        return element("html", head, body, lang="en")

    def _contents(self) -> Html:
        items = [
            _section_link("Introduction", "#introduction"),
            *(self._tag_contents(tag["name"]) for tag in self._document["tags"]),
            _section_link("Objects", "#objects"),
            _section_link("Error codes", "#error-codes"),
        ]
        name = element("p", self._document["info"]["title"], class_="name")
        return element("nav", name, element("ul", *items), aria_label="Contents")

    def _tag_contents(self, tag: str) -> Html:
        links = [
            element(
                "li",
                _operation_link(method, operation),
            )
            for method, _, operation in self._by_tag[tag]
        ]
        return element("li", element("a", tag.capitalize(), href=f"#{tag}"), element("ul", *links))

    def _introduction(self) -> Html:
        info = self._document["info"]
        server = self._document["servers"][0]["url"]
        facts = element(
            "p",
            f"Version {info['version']} · base path ",
            element("code", server),
            " · ",
            element("a", "OpenAPI 3.1 document", href="openapi.json"),
            class_="facts",
        )
        heading = element("h1", info["title"])
        lead = element("p", info["summary"], class_="lead")
        return element(
            "section",
            heading,
            lead,
            facts,
            markdown(info["description"]),
            self._shell_note(server),
            id="introduction",
        )

    def _shell_note(self, server: str) -> Html:
        return joined(
            element("h2", "The examples"),
            element("p", "They run in a shell that knows where this service is, and a key:"),
            _code(f"API=http://localhost:4000{server}\nKEY=ohk_live_key_…"),
        )

    def _groups(self) -> list[Html]:
        return [
            element(
                "section",
                element("h2", tag["name"].capitalize()),
                markdown(tag["description"]),
                *(self._operation(*entry) for entry in self._by_tag[tag["name"]]),
                id=tag["name"],
            )
            for tag in self._document["tags"]
        ]

    def _operation(self, method: str, path: str, operation: Operation) -> Html:
        anchor = _anchor(operation["operationId"])
        name = element("code", _method(method), " ", _breakable(path), class_="path")
        return element(
            "article",
            element("h3", element("a", markdown_line(operation["summary"]), href=f"#{anchor}")),
            element("p", name),
            markdown(operation["description"]),
            self._parameters(operation),
            self._body(operation),
            element("h4", "Example"),
            _code(self._curl(method, path, operation)),
            self._answers(operation),
            self._refusals(operation),
            id=anchor,
        )

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        ref = part.get("$ref")
        if ref is None:
            return part
        kind, name = ref.removeprefix("#/components/").split("/")
        found: Mapping[str, Any] = self._components[kind][name]
        return found

    def _parameters(self, operation: Operation) -> Html | None:
        # Every request may carry its own id; the introduction says so once.
        told = [self._resolved(one) for one in operation["parameters"]]
        shown = [one for one in told if one["name"] != "X-Request-ID"]
        if not shown:
            return None
        return joined(element("h4", "Parameters"), table(("name", "type", "meaning"), parameter_rows(shown)))

    def _body(self, operation: Operation) -> Html | None:
        body = operation.get("requestBody")
        if body is None:
            return None
        schema = body["content"]["application/json"]["schema"]
        described = self._resolved(schema)
        note = None if body["required"] else element("p", "The body may be left out.")
        rows = property_rows(described)
        fields = table(("property", "type", "meaning"), rows) if rows else None
        return joined(element("h4", "Body"), markdown(described.get("description", "")), note, fields)

    def _curl(self, method: str, path: str, operation: Operation) -> str:
        told = [self._resolved(one) for one in operation["parameters"]]
        for parameter in told:
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", str(parameter["schema"]["examples"][0]))
        parts = [f'curl "$API{path}"' if method == "GET" else f'curl -X {method} "$API{path}"']
        if operation["security"]:
            parts.append('-H "Authorization: Bearer $KEY"')
        if any(parameter["name"] == "Idempotency-Key" for parameter in told):
            parts.append('-H "Idempotency-Key: $(uuidgen)"')
        body = operation.get("requestBody")
        if body is not None:
            shown = msgspec.json.encode(body["content"]["application/json"]["example"]).decode(ENCODING)
            parts += ['-H "Content-Type: application/json"', f"-d {shlex.quote(shown)}"]
        return " \\\n  ".join(parts)

    def _answers(self, operation: Operation) -> Html:
        parts: list[Html] = []
        for status, answer in operation["responses"].items():
            if "$ref" in answer:
                continue
            parts.append(_answer(status, answer))
        return joined(element("h4", "Answer"), *parts)

    def _refusals(self, operation: Operation) -> Html:
        rows = []
        for status, answer in operation["responses"].items():
            if "$ref" not in answer:
                continue
            content = self._resolved(answer)["content"]["application/json"]["examples"]
            links = [_code_link(code) for code in content]
            rows.append((element("span", status), joined(*_between(links, ", "))))
        return element("details", element("summary", "Errors"), table(("status", "codes"), rows))

    def _schemas(self) -> Html:
        parts = [
            element(
                "article",
                element("h3", name),
                markdown(schema.get("description", "")),
                table(("property", "type", "meaning"), property_rows(schema)) if property_rows(schema) else None,
                id=component_anchor(name),
            )
            for name, schema in self._components["schemas"].items()
        ]
        return element("section", element("h2", "Objects"), *parts, id="objects")

    def _codes(self) -> Html:
        statuses: dict[str, set[str]] = {}
        for name, answer in self._components["responses"].items():
            for code in answer["content"]["application/json"]["examples"]:
                statuses.setdefault(code, set()).add(name.partition(".")[0])
        rows = [
            (
                element("code", code, id=f"error-{code}"),
                ", ".join(sorted(statuses.get(code, set()) | {str(refusal.status)})),
                markdown_line(message(refusal)),
                markdown_line(refusal.remedy),
            )
            for code, refusal in sorted(errors.catalogue().items())
        ]
        lead = element("p", "Every code that an answer can hold, and what to do about it.")
        listed = table(("code", "status", "meaning", "remedy"), rows)
        return element("section", element("h2", "Error codes"), lead, listed, id="error-codes")


def _operation_link(method: str, operation: Operation) -> Html:
    name = element("span", markdown_line(operation["summary"]))
    return element("a", _method(method), name, href="#" + _anchor(operation["operationId"]))


def _section_link(text: str, href: str) -> Html:
    return element("li", element("a", text, href=href))


def _method(method: str) -> Html:
    return element("span", method, class_=f"method {method.lower()}")


def _breakable(path: str) -> Html:
    return joined(*_between([Html(element("span", part)) for part in path.split("/")], Html("/<wbr>")))


def _between(parts: Sequence[Html], separator: str) -> list[str | Html]:
    found: list[str | Html] = []
    for place, part in enumerate(parts):
        found += [separator, part] if place else [part]
    return found


def _code(text: str) -> Html:
    return element("pre", element("code", text), tabindex="0")


def _code_link(code: str) -> Html:
    return element("a", element("code", code), href=f"#error-{code}")


def _answer(status: str, answer: Mapping[str, Any]) -> Html:
    told = element("p", element("strong", f"{status} {HTTPStatus(int(status)).phrase}"), ". ", answer["description"])
    content = answer.get("content", {})
    shown = [one["example"] for one in content.values() if "example" in one]
    if not shown:
        kinds = ", ".join(content)
        return joined(told, element("p", "The answer is ", element("code", kinds), ".") if kinds else None)
    written = msgspec.json.format(msgspec.json.encode(shown[0]), indent=2).decode(ENCODING)
    return joined(told, element("details", element("summary", "Body"), _answer_type(content), _code(written)))


def _answer_type(content: Mapping[str, Any]) -> Html | None:
    schema = content["application/json"]["schema"]
    parts = schema.get("allOf", [schema])
    data = parts[-1]["properties"]["data"]
    ref = data.get("$ref") or data.get("items", {}).get("$ref")
    if ref is None:
        return None
    name = ref.rpartition("/")[2]
    kind = "items of" if "items" in data else "an object of"
    link = element("a", name, href="#" + component_anchor(name))
    return element("p", element("code", "data"), f" holds {kind} the type ", link, ".")
