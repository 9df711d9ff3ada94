"""The documentation as a site: every page is in it, all that it links to is, and nothing is loaded from elsewhere."""

import importlib.util
import re
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
LOADS: Final = {"src", "srcset", "poster", "data", "background", "action"}
"""Attributes that make a browser ask for what they name; `href` does on `link` alone."""

_STYLE = re.compile(r"(?:url\(\s*[\"']?|@import\s+[\"'])\s*((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)
_SCRIPT = re.compile(
    r"(?:\bfetch|\bimport|\bimportScripts|\.open|\bsendBeacon|\bWebSocket|\bEventSource)\s*\([^)]{0,40}?[\"'`]"
    r"((?:https?:|wss?:)?//[^\"'`]+)|\.src\s*=\s*[\"'`]((?:https?:)?//[^\"'`]+)"
)


def navigation() -> ModuleType:
    """The module of the site's navigation, which is Sphinx's to import."""
    spec = importlib.util.spec_from_file_location("site_navigation", ROOT / "tools" / "site" / "navigation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page(HTMLParser):
    """What a page loads, where it leads, and what can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for every tag."""
        for name, value in attrs:
            if not value:
                continue
            if name in LOADS or (name == "href" and tag in ("link", "use", "image")):
                self.loads.append(value)
            elif name == "href":
                self.leads.append(value)
            elif name in ("id", "name"):
                self.names.add(value)
            elif name == "style":
                self.loads += _STYLE.findall(value)


def outside(text: str) -> bool:
    """True when a browser would ask another host for this."""
    parts = urlsplit(text.strip())
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ws", "wss")


def foreign(file: Path) -> list[str]:
    """What a file of the site would load from another host."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".html":
        found = [one for one in Page(text).loads if outside(one)] + _STYLE.findall(text)
    elif file.suffix == ".css":
        found = _STYLE.findall(text)
    else:
        found = [one or other for one, other in _SCRIPT.findall(text)]
    return [f"{file.name}: {one}" for one in found]


def test_every_page_is_in_the_navigation_once() -> None:
    module = navigation()
    named = Counter(module.named())
    assert sorted(named) == module.written()
    assert [page for page, times in named.items() if times > 1] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://example.com/a.js"></script>'),
        ("a.html", '<link rel="preconnect" href="//fonts.example.com">'),
        ("a.html", "<style>@import 'https://example.com/a.css';</style>"),
        ("a.html", '<form action="https://example.com/">'),
        ("a.css", "@font-face { src: url(https://example.com/a.woff2) }"),
        ("a.js", 'fetch("https://example.com/count")'),
        ("a.js", 'image.src = "//example.com/dot.gif"'),
    ],
)
def test_what_would_be_loaded_from_elsewhere_is_noticed(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert len(foreign(tmp_path / name)) == 1
    (tmp_path / name).write_text(
        text.replace("https:", "").replace("//example.com", "a").replace("//fonts", "a"), "utf-8"
    )
    assert foreign(tmp_path / name) == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a warning fails it."""
    folder = tmp_path_factory.mktemp("site") / "html"
    told = subprocess.run(
        [ROOT / "tools" / "site" / "build", folder], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    return folder


@pytest.mark.long
def test_the_site_asks_no_other_host(site: Path) -> None:
    files = [file for file in site.rglob("*") if file.suffix in (".html", ".css", ".js")]
    assert len(files) > 100
    assert [found for file in files for found in foreign(file)] == []


@pytest.mark.long
def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}
    dead = []
    for file, page in pages.items():
        for link in page.leads + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                dead.append(f"{file.relative_to(site)}: {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].names:
                dead.append(f"{file.relative_to(site)}: {link}: no such place")
    assert dead == []


@pytest.mark.long
def test_the_search_knows_every_page(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert index.startswith("Search.setIndex(")
    assert [page for page in navigation().written() if f'"{page}"' not in index] == []
