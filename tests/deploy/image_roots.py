"""The Dockerfile's steps, executed without Docker: each stage is a folder with a Debian in it, entered by chroot.

It knows what our Dockerfile uses and refuses the rest. Layers, caches and namespaces of Docker are not imitated.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy_files import ROOT, instructions

BASE: Final = "${PYTHON_IMAGE}"
OF_THIS_MACHINE: Final = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/pip.conf",
    "/etc/xdg/pip",
    "/etc/ssl/certs/ca-certificates.crt",
)
"""How this machine reaches the package registries."""
INHERITED: Final = ("PIP_CERT", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT", "PIP_INDEX_URL", "SSL_CERT_FILE")


@dataclass
class Stage:
    """A root file system, and what the Dockerfile has said about whoever runs in it."""

    root: Path
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})
    workdir: str = "/"
    user: str = "0:0"

    def command(self, words: list[str], *, read_only: bool = False, **variables: str) -> list[str]:
        """The words that run a command inside, as this stage's user with its variables."""
        values = [f"{name}={value}" for name, value in (self.environ | variables).items()]
        inside = ["chroot", f"--userspec={self.user}", str(self.root), "/usr/bin/env", "-i", "-C", self.workdir]
        inside += [*values, *words]
        if not read_only:
            return inside
        root = shlex.quote(str(self.root))
        mounts = f"mount --bind {root} {root} && mount -o remount,ro,bind {root} && mount -t tmpfs tmpfs {root}/tmp"  # noqa: S108
        return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *inside]

    def run(self, words: list[str], **variables: str) -> str:
        """Run a command to its end, which has to be good; what it printed."""
        told = subprocess.run(self.command(words, **variables), capture_output=True, text=True, check=False)
        assert told.returncode == 0, f"{words}: {told.stdout[-3000:]}{told.stderr[-3000:]}"
        return told.stdout

    def inside(self, path: str) -> Path:
        """Where a path of this stage is outside of it."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")  # noqa: PTH118 - an absolute path wins


def debian(folder: Path, release: str, mirror: str) -> Path:
    """An empty Debian with Python, standing in for the base image."""
    packages = "--include=python3,python3-venv,ca-certificates"
    words = ["debootstrap", "--variant=minbase", packages, release, str(folder), mirror]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-3000:]
    (folder / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for name in OF_THIS_MACHINE:
        source, target = Path(name), folder / name.lstrip("/")
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return folder


def build(
    dockerfile: Path, base: Path, folder: Path, *, given: Mapping[str, str] | None = None, without: str | None = None
) -> dict[str, Stage]:
    """Execute every instruction; the stages by name, the last one as the empty name.

    `given` is what `--build-arg` gives. The stage `without` is left out, as Docker leaves out what nothing needs.
    """
    stages: dict[str, Stage] = {}
    stage, arguments = Stage(base), dict[str, str]()
    left_out = False
    network = {name: os.environ[name] for name in INHERITED if name in os.environ}
    for word, rest in instructions(dockerfile):
        left_out = rest.endswith(f" AS {without}") if word == "FROM" else left_out
        if left_out:
            continue
        match word:
            case "FROM":
                source, _, name = rest.partition(" AS ")
                parent = Stage(base) if source == BASE else stages[source]
                root = folder / (name or "last")
                root.parent.mkdir(exist_ok=True)
                subprocess.run(["/bin/cp", "-a", "--reflink=auto", parent.root, root], check=True)
                stage = Stage(root, dict(parent.environ), parent.workdir, parent.user)
                stages[name] = stage
            case "ENV":
                for pair in shlex.split(rest):
                    variable, _, value = pair.partition("=")
                    stage.environ[variable] = value.replace("$PATH", stage.environ["PATH"])
            case "WORKDIR":
                stage.workdir = rest
                stage.inside(".").mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = rest if ":" in rest else f"{rest}:{rest}"
            case "ARG":
                name, _, default = rest.partition("=")
                arguments[name] = (given or {}).get(name, default)
            case "RUN":
                stage.run(["/bin/sh", "-c", rest], **network, **arguments)
            case "COPY":
                _copy(stage, rest.split(), stages)
            case "LABEL" | "EXPOSE" | "STOPSIGNAL" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                pass
            case _:
                raise ValueError(f"this does not know {word}")
    return stages


def _copy(stage: Stage, words: list[str], stages: dict[str, Stage]) -> None:
    origin = ROOT
    if words[0].startswith("--from="):
        origin = stages[words[0].removeprefix("--from=")].root
        words = words[1:]
    *sources, target = words
    place = stage.inside(target)
    for name in sources:
        source = origin / name.lstrip("/")
        if source.is_dir():
            left_out = shutil.ignore_patterns("__pycache__") if origin == ROOT else None  # as .dockerignore says
            shutil.copytree(source, place, symlinks=True, ignore=left_out, dirs_exist_ok=True)
            continue
        into = place / source.name if target.endswith("/") else place
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, into)
