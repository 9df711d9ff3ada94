"""Packages of npm's registry, for long tests: each held against its hash, none of their programs run."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path


def unpacked(wanted_file: Path, folder: Path) -> None:
    """Unpack the packages of a file of lines `name@version sha512-…` to `folder/node_modules/<name>`."""
    client = shutil.which("npm")
    assert client is not None, "this test needs npm"
    lines = wanted_file.read_text(encoding="utf-8").splitlines()
    wanted = dict(line.split() for line in lines if line and not line.startswith("#"))
    words = [client, "pack", "--json", "--ignore-scripts", *wanted]
    told = subprocess.run(words, cwd=folder, capture_output=True, check=True).stdout
    for one in json.loads(told):
        archive = folder / one["filename"].replace("@", "").replace("/", "-")
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        assert wanted.pop(f"{one['name']}@{one['version']}") == f"sha512-{digest}", one["name"]
        place = folder / "node_modules" / one["name"]
        with tarfile.open(archive) as packed:
            for member in packed:
                # The archives' one folder is called `package`, mostly.
                member.name = member.name.partition("/")[2]
                if member.isfile() and member.name:
                    packed.extract(member, place, filter="data")
    assert not wanted, "packed, and not told of"
