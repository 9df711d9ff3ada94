"""What the long tests of deploy/ check with: the tools of requirements/deploy.txt, in an environment of their own."""

import subprocess
import sys
from pathlib import Path

import pytest
from deploy_files import ROOT


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of the tools, each package held against its hash."""
    folder = tmp_path_factory.mktemp("deploy-tools") / "venv"
    list_ = ROOT / "requirements" / "deploy.txt"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    told = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", list_],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return folder / "bin"
