"""The page /docs: it shows every operation and every error code, fetches nothing, and escapes what it is given."""

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser
from typing import Any, Final

import msgspec

from offerhub.edge import documentation, documentation_page
from offerhub.edge.documentation_html import element, markdown, markdown_line
from offerhub.errors import catalogue
from offerhub.runtime.routes import Call, Document, Route
from support.routes import all_routes

_PRODUCT: Final = tuple(route for route in all_routes() if route.domain != "documentation")
MACHINE, PAGE = documentation.routes(_PRODUCT, version="1.2.3")
VOID: Final = {"meta", "wbr", "hr", "br"}


class Reader(HTMLParser):
    """Notes elements, and fails when one is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def answer(route: Route) -> Document:
    call: Any = Call
    found = await route.handler(call)
    assert isinstance(found, Document)
    return found


async def read() -> tuple[str, Reader]:
    text = (await answer(PAGE)).content.decode()
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return text, reader


async def test_the_document_describes_all_routes_and_these_two() -> None:
    found = await answer(MACHINE)
    document = msgspec.json.decode(found.content)
    assert found.media_type == "application/json"
    assert document["info"]["version"] == "1.2.3"
    assert {"/docs", "/openapi.json"} <= document["paths"].keys()
    assert {route.path for route in _PRODUCT} < document["paths"].keys()
    assert list(document["paths"]["/docs"]["get"]["responses"]["200"]["content"]) == ["text/html"]
    assert await answer(MACHINE) is found


async def test_the_page_shows_every_operation_and_every_code() -> None:
    text, reader = await read()
    anchors = [attributes["id"] for _, attributes in reader.seen if "id" in attributes]
    assert len(set(anchors)) == len(anchors)
    assert {f"operation-{route.name}" for route in (*_PRODUCT, MACHINE, PAGE)} <= set(anchors)
    assert {f"error-{code}" for code in catalogue()} <= set(anchors)
    links = [attributes["href"] or "" for _, attributes in reader.seen if "href" in attributes]
    assert {link for link in links if link.startswith("#")} <= {f"#{anchor}" for anchor in anchors}
    assert "curl -X POST &quot;$API/orders&quot;" in text


async def test_the_page_needs_nothing_but_itself() -> None:
    text, reader = await read()
    assert not {"script", "link", "img", "iframe", "form"} & {tag for tag, _ in reader.seen}
    assert not any(
        name == "src" or name.startswith("on") or name == "style" for _, one in reader.seen for name in one
    )
    links = [attributes["href"] or "" for _, attributes in reader.seen if "href" in attributes]
    assert {link for link in links if not link.startswith("#")} == {"openapi.json"}
    assert "url(" not in text
    assert "@import" not in text


async def test_the_policy_allows_the_style_of_the_page_and_nothing_else() -> None:
    found = await answer(PAGE)
    style = re.search(rb"<style>(.*?)</style>", found.content, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
    policy = found.content_security_policy or ""
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert found.media_type.startswith("text/html")


async def test_a_reader_without_eyes_finds_the_way() -> None:
    text, reader = await read()
    tags = [tag for tag, _ in reader.seen]
    assert tags.count("h1") == tags.count("main") == tags.count("nav") == 1
    assert '<html lang="en">' in text
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(below <= above + 1 for above, below in itertools.pairwise(levels))
    assert all("scope" in attributes for tag, attributes in reader.seen if tag == "th")


async def test_what_a_route_says_is_escaped() -> None:
    document = msgspec.json.decode((await answer(MACHINE)).content)
    hostile = "<script>alert(1)</script>"
    document["info"]["title"] = hostile
    operation = document["paths"]["/orders"]["post"]
    operation["summary"] = operation["description"] = hostile
    operation["requestBody"]["content"]["application/json"]["example"] = {hostile: "it's"}
    text = documentation_page.render(document).content.decode()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 4
    assert "it&#x27;&quot;&#x27;&quot;&#x27;s" in text


def test_markdown_has_no_raw_html_and_no_addresses_that_run() -> None:
    assert markdown("a <b>c</b>") == "<p>a &lt;b&gt;c&lt;/b&gt;</p>\n"
    assert "href" not in markdown_line("[x](javascript:alert)")
    assert element("a", "<", href='"') == '<a href="&quot;">&lt;</a>'
