"""The documentation as a site, by Sphinx: the pages stay where they are, readable on a Git host as well.

The repository is the source folder, so that a link between two pages, or from a page to a file, is the same link in
both places. What is not a page and is linked to is copied into the site. See docs/decisions/0064.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.transforms import Transform

sys.path.insert(0, str(Path(__file__).parent))
import navigation

project = "OFFER-HUB Orchestrator"
author = "The authors of the OFFER-HUB Orchestrator"
html_title = project
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_use_index = False
html_show_sourcelink = False
language = "en"

extensions = ["myst_parser"]
root_doc = navigation.HOME
include_patterns = list(navigation.PAGES)
suppress_warnings = ["misc.highlighting_failure"]  # "…" in an example stands for any value, which no JSON has
myst_heading_anchors = 6
nitpicky = True

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
pygments_style = "friendly"
pygments_dark_style = "monokai"

_ANCHOR = re.compile(r"<a\s+(?:id|name)=[\"']([^\"']+)[\"']")


class HtmlAnchors(Transform):
    """Links to `<a id="…">` find it: on a Git host that is how a line of a table is linked to."""

    default_priority = 500

    def apply(self) -> None:
        """Tell MyST of the anchors of this page as of its headings."""
        slugs: dict[str, Any] = self.document.myst_slugs
        for raw in self.document.findall(nodes.raw):
            for name in _ANCHOR.findall(raw.astext()):
                slugs[name] = (raw.line or 0, name, name)


def _entry(page: str, target: str) -> str:
    title = navigation.TITLES.get(page)
    return f"{title} <{target}>" if title else target


def with_contents(_app: Any, name: str, source: list[str]) -> None:
    """Give a page the list of the pages under it, which a Git host shows as folders."""
    for caption, pages in navigation.tree().get(name, {}).items():
        titled = f":caption: {caption}\n" if caption else ""
        entries = "\n".join(_entry(page, "self" if page == name else f"/{page}") for page in pages)
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n{titled}\n{entries}\n```\n"


def with_index(app: Any, fault: Exception | None) -> None:
    """The first page is also the one that a server or a browser opens in a folder."""
    if fault is None:
        shutil.copyfile(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.add_transform(HtmlAnchors)
    app.connect("source-read", with_contents)
    app.connect("build-finished", with_index)
