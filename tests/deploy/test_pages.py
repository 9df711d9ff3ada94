"""The pages about deployment: what they point to is there, and the deployment guide's lines are all met."""

import re

from deploy_files import ROOT

from offerhub.cli.main import app

PAGES = sorted((ROOT / "docs" / "operating" / "deploy").glob("*.md"))
PAGES += [ROOT / "docs" / "operating" / name for name in ("troubleshooting.md", "runbooks.md")]


def test_files_that_pages_name_are_there() -> None:
    for page in PAGES:
        named = re.findall(r"`((?:deploy|tests|src|docs|requirements)/[\w./-]*)", page.read_text(encoding="utf-8"))
        assert [path for path in named if not (ROOT / path).exists()] == [], page.name


def test_commands_that_pages_name_are_there() -> None:
    words = {name for page in PAGES for name in re.findall(r"`offerhub (\w[\w-]*)", page.read_text(encoding="utf-8"))}
    assert len(words) > 5
    assert words <= set(app)
