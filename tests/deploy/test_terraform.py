"""The Terraform for AWS, Google Cloud and Azure: what it names is declared, and the providers have what it sets.

No Terraform runs here. A parser of HCL reads its language, and each block is held to its provider's own schema, as
HashiCorp publishes it in generated bindings: names, nesting, what is required, attributes that are referred to.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_files import DEPLOY
from provider_schemas import plain, schema

from support.npm import unpacked

FOLDERS = sorted((DEPLOY / "terraform").iterdir())
HERE = Path(__file__).parent
PROVIDERS = ("aws", "google", "azurerm", "random")
RESOURCE = re.compile(r"\b(data\.)?((?:aws|google|azurerm|random)_[a-z0-9_]+)\.(\w+)(?:\[[^\]]*\])?(?:\.(\w+))?")


def code(folder: Path) -> str:
    """The text of a folder without comments and descriptions."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.tf")))
    return re.sub(r"^\s*#.*$|^\s*description\s*=.*$", "", text, flags=re.MULTILINE)


def declared(text: str, kind: str) -> set[str]:
    return set(re.findall(rf'^{kind} "(\w+)" \{{', text, re.MULTILINE))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_is_named_is_declared_and_what_is_declared_is_used(folder: Path) -> None:
    text = code(folder)
    variables = declared(text, "variable")
    assert set(re.findall(r"\bvar\.(\w+)", text)) == variables
    resources = set(re.findall(r'^resource "(\w+)" "(\w+)" \{', text, re.MULTILINE))
    data = set(re.findall(r'^data "(\w+)" "(\w+)" \{', text, re.MULTILINE))
    for is_data, kind, name, _ in RESOURCE.findall(text):
        assert (kind, name) in (data if is_data else resources), f"{kind}.{name}"
    every = "\n".join(re.findall(r"^locals \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL))
    local = set(re.findall(r"^  (\w+)\s*=", every, re.MULTILINE))
    assert set(re.findall(r"\blocal\.(\w+)", text)) == local
    for name in variables:
        block = re.search(rf'^variable "{name}" \{{\n(.*?)^\}}', text_of(folder), re.MULTILINE | re.DOTALL)
        assert block is not None
        assert "description" in block[1]


def text_of(folder: Path) -> str:
    return (folder / "variables.tf").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_guides_demands_are_met(folder: Path) -> None:
    text = code(folder)
    assert re.search(r'"(17|POSTGRES_17)"', text), "PostgreSQL 15 or newer"
    assert re.search(r"noeviction", text, re.IGNORECASE), "jobs must not be evicted"
    assert "sslmode=require" in text
    assert "/api/v1/ready" in text
    assert re.search(r'\[?"migrate", "up"\]?', text)
    assert re.search(r'\["serve", "--no-jobs"\]', text)
    assert re.search(r'\["worker"\]', text)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("providers")
    unpacked(HERE / "packages.txt", folder)
    return folder / "node_modules"


@pytest.fixture(scope="module")
def parsed(tools: Path) -> dict[str, list[dict[str, Any]]]:
    """The files of each folder, parsed."""
    files = [str(file) for folder in FOLDERS for file in sorted(folder.glob("*.tf"))]
    words = [tools / "python", HERE / "terraform_probe.py", *files]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for name, document in json.loads(told.stdout).items():
        found.setdefault(Path(name).parent.name, []).append(document)
    return found


def blocks(documents: list[dict[str, Any]]) -> Iterator[tuple[bool, str, str, dict[str, Any]]]:
    """Whether it is a data source, its kind, its name, and what is in it."""
    for document in documents:
        for word in ("resource", "data"):
            for one in document.get(word, ()):
                for kind, named in one.items():
                    for name, body in named.items():
                        yield word == "data", plain(kind), plain(name), body


@pytest.mark.long
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_providers_have_what_is_set(modules: Path, parsed: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    faults, seen = [], 0
    for is_data, kind, name, body in blocks(parsed[folder.name]):
        faults += schema(modules, kind, is_data=is_data).faults(body, f"{kind}.{name}")
        seen += 1
    assert faults == []
    assert seen > 10
    for is_data, kind, name, attribute in RESOURCE.findall(code(folder)):
        if attribute and not schema(modules, kind, is_data=bool(is_data)).tells(attribute):
            faults.append(f"{kind}.{name}.{attribute}")
    assert faults == []


@pytest.mark.long
def test_the_check_itself_notices_what_is_wrong(modules: Path) -> None:
    lb = schema(modules, "aws_lb", is_data=False)
    assert lb.faults({"subnets": ["a"], "access_logs": [{"bucket": "b", "__is_block__": True}]}, "lb") == []
    assert lb.faults({"subnet": ["a"]}, "lb") == ["lb: there is no subnet"]
    assert lb.faults({"access_logs": {"bucket": "b"}}, "lb") == ["lb: access_logs is a block"]
    assert lb.faults({"access_logs": [{"prefix": "p", "__is_block__": True}]}, "lb") == [
        "lb.access_logs: bucket is missing"
    ]
    assert lb.tells("dns_name")
    assert not lb.tells("dns_names")
