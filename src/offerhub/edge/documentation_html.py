"""HTML that cannot forget to escape: text becomes HTML only through `element`, or from Markdown without raw HTML."""

import html
from typing import Final

from markdown_it import MarkdownIt

# Without raw HTML; links to anything but addresses and anchors are left as text.
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Part = str | Html | None


def element(name: str, /, *parts: Part, **attributes: str | None) -> Html:
    """One element with these contents; plain text is escaped, None is left out.

    An attribute of None is left out, too; `class_` and `aria_label` mean `class` and `aria-label`.
    """
    written = "".join(
        f' {attribute.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for attribute, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{joined(*parts)}</{name}>")


def void(name: str, /, **attributes: str) -> Html:
    """An element without contents, such as `meta`."""
    return Html(element(name, **attributes).removesuffix(f"</{name}>"))


def joined(*parts: Part) -> Html:
    """These parts, one after the other."""
    return Html("".join(part if isinstance(part, Html) else html.escape(part) for part in parts if part is not None))


def markdown(text: str) -> Html:
    """Paragraphs of Markdown."""
    return Html(_MARKDOWN.render(text))


def markdown_line(text: str) -> Html:
    """A line of Markdown, without a paragraph around it."""
    return Html(_MARKDOWN.renderInline(text))
