"""Find dead links in the documentation: files and headings of ours that are not there. The network is not asked."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/**/*.md", "src/**/*.md", "deploy/**/*.md", "bench/**/*.md", "sdk/**/*.md")

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_INLINE_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_LINK = re.compile(r"!?\[(?:[^\]\\]|\\.|\[[^\]]*\])*\]\(\s*<?([^)>\s]*)>?(?:\s+[\"'(][^)]*)?\)")
_DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_ANCHOR = re.compile(r"<a\s+(?:id|name)=[\"']([^\"']+)[\"']")


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a page outside of code blocks."""
    fence = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        match = _FENCE.match(line)
        if match is not None and (not fence or match[1].startswith(fence)):
            fence = "" if fence else match[1]
        elif not fence:
            yield number, line


@cache
def anchors(page: Path) -> frozenset[str]:
    """The names that a link into this page can use, made from headings as GitHub makes them."""
    seen: Counter[str] = Counter()
    found: set[str] = set()
    for _, line in prose(page):
        found.update(_ANCHOR.findall(line))
        heading = _HEADING.match(line)
        if heading is not None:
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            slug = re.sub(r"[^\w\- ]", "", text.lower().replace("`", "")).replace(" ", "-")
            found.add(slug if seen[slug] == 0 else f"{slug}-{seen[slug]}")
            seen[slug] += 1
    return frozenset(found)


def links(page: Path) -> Iterator[tuple[int, str]]:
    """The targets of a page's links, each with its line."""
    for number, line in prose(page):
        text = _INLINE_CODE.sub("", line)
        for target in _LINK.findall(text) + _DEFINITION.findall(text):
            yield number, target


def fault(page: Path, target: str) -> str | None:
    """What is wrong with a link, or None."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    path = unquote(parts.path)
    base = ROOT if path.startswith("/") else page.parent
    file = (base / path.lstrip("/")).resolve() if path else page
    if not file.is_relative_to(ROOT):
        return "leads out of the repository"
    if not file.exists():
        return "no such file"
    if parts.fragment and file.suffix == ".md" and unquote(parts.fragment) not in anchors(file):
        return "no such heading"
    return None


def main() -> int:
    """Print every dead link; the exit status says whether there are any."""
    pages = sorted({page for pattern in PAGES for page in ROOT.glob(pattern)})
    dead = [
        f"{page.relative_to(ROOT)}:{number}: {target}: {reason}"
        for page in pages
        for number, target in links(page)
        if (reason := fault(page, target)) is not None
    ]
    print("\n".join(dead) if dead else f"Links of {len(pages)} pages: all alive.")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
