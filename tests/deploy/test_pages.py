"""The pages about deployment: what they point to is there, and the deployment guide's lines are all met."""

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy_files import DEPLOY, ROOT

from offerhub.cli.main import app

PAGES = sorted((ROOT / "docs" / "operating" / "deploy").glob("*.md"))
PAGES += [ROOT / "docs" / "operating" / name for name in ("troubleshooting.md", "runbooks.md")]


def test_files_that_pages_name_are_there() -> None:
    for page in PAGES:
        named = re.findall(r"`((?:deploy|tests|src|docs|requirements)/[\w./-]*)", page.read_text(encoding="utf-8"))
        assert [path for path in named if not (ROOT / path).exists()] == [], page.name


def test_google_cloud_is_given_the_key_and_nothing_else(tmp_path: Path) -> None:
    """The page's pipeline, with a stand-in for gcloud that keeps what it is given."""
    page = (ROOT / "docs" / "operating" / "deploy" / "gcp.md").read_text(encoding="utf-8")
    (pipeline,) = re.findall(r"^ *(offerhub secrets generate .*\n.*--data-file=-)$", page, re.MULTILINE)
    gcloud = tmp_path / "gcloud"
    gcloud.write_text("#!/bin/sh\nexec cat > given\n")
    gcloud.chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin"
    subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", pipeline], cwd=tmp_path, env={"PATH": path}, check=True)
    given = (tmp_path / "given").read_text()
    assert len(base64.b64decode(given, validate=True)) == 32
    assert f"OFFERHUB_MASTER_KEY={given}\n" in (tmp_path / "key.env").read_text()


def test_pages_that_files_name_are_there() -> None:
    for file in (path for path in DEPLOY.rglob("*") if path.is_file()):
        named = re.findall(r"\bdocs/[\w./-]+\.md", file.read_text(encoding="utf-8"))
        assert [path for path in named if not (ROOT / path).exists()] == [], file.name


def commands(page: Path) -> Iterator[list[str]]:
    """Every command of ours that a page names, in its text and in its blocks, as words without the program's name."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"`(?:\.venv/bin/)?offerhub ([^`]+)`", text)
    for block in re.findall(r"^```(?:sh|text|bash)\n(.*?)^```$", text.replace("\\\n", " "), re.DOTALL | re.MULTILINE):
        found += re.findall(r"^(?:.*(?:&& |-- |\(|/bin/))?offerhub ([^\n|;&)>#]+)", block, re.MULTILINE)
    for words in (command.split() for command in found):
        if words[0] != "ready":  # what a process prints
            yield words


def test_commands_and_flags_that_any_page_names_are_there() -> None:
    seen = 0
    for page in (ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")):
        for words in commands(page):
            node, rest = app, list(words)
            while rest and rest[0].strip(".,:…") in set(node):
                node = node[rest.pop(0).strip(".,:…")]
            assert node is not app, f"{page.name}: offerhub {' '.join(words)}"
            known = {"--help"}
            if node.default_command is not None:
                known |= {name for one in node.assemble_argument_collection() for name in one.names}
            named = {word.split("=")[0].rstrip(".,:") for word in rest if word.startswith("--")}
            assert named <= known, f"{page.name}: offerhub {' '.join(words)}"
            seen += 1
    assert seen > 200
