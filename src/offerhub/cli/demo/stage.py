"""What the demo runs on: servers, a sandbox and a service of its own, all in a folder of this run's own."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offerhub.cli.demo.client import Client, ConnectionCut, DemoFailed
from offerhub.cli.demo.progress import Progress
from offerhub.cli.development import sandbox_process
from offerhub.runtime.embedded import embedded_services
from offerhub.runtime.embedded.supervisor import free_port
from offerhub.settings.catalogue import OFFERHUB_DATA_DIR
from offerhub.settings.variable import Reader

READY_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 30.0
POLL_SECONDS: Final = 0.05
KEPT_VARIABLES: Final = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ"})
"""All that the service inherits, besides what Python reads: a DATABASE_URL of the user's shell must not reach it."""


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of the user's shell that the service may see.

    >>> own_environment({"PATH": "/bin", "DATABASE_URL": "postgresql://live", "PYTHONPATH": "src"})
    {'PATH': '/bin', 'PYTHONPATH': 'src'}
    """
    return {name: value for name, value in environ.items() if name in KEPT_VARIABLES or name.startswith("PYTHON")}


class Service:
    """`offerhub serve` as a child process that can be killed and started again at the same address."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.log = folder / "service.log"
        self._folder = folder
        self._environ = {**environ, "HOST": "127.0.0.1", "PORT": str(port)}
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        """Start it and wait until it answers. Raises DemoFailed when it does not."""
        command = [sys.executable, "-c", "from offerhub.cli.main import main; main()", "serve"]
        with self.log.open("ab") as log:
            # The working directory is the run's own, so that no `.env` of the user's is read.
            self._child = subprocess.Popen(command, cwd=self._folder, env=self._environ, stdout=log, stderr=log)
        client = Client(f"{self.address}/api/v1")
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and self._child.poll() is None:
            try:
                if client.send("GET", "/health").status == 200:
                    return
            except ConnectionCut:
                time.sleep(POLL_SECONDS)
        raise DemoFailed("The service did not start.")

    def kill(self) -> None:
        """End it as a power cut would: nothing is finished, nothing is written down."""
        assert self._child is not None
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait(self) -> None:
        """Wait until it ends."""
        assert self._child is not None
        self._child.wait()


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, and how to reach it."""

    service: Service
    sandbox_url: str
    database_url: str
    master_key: str


def new_folder(data_dir: Path) -> Path:
    """A fresh folder in the data folder, so that runs do not meet, and nothing of the developer's is touched."""
    data_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=data_dir.absolute()))
    folder.chmod(0o711)  # as root the servers run as somebody else, who passes through
    return folder


def remove_folder(folder: Path) -> None:
    """Remove a run's folder, and the servers' folder where that had to be put elsewhere."""
    shutil.rmtree((folder / "services").resolve(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def data_dir_of(environ: Mapping[str, str]) -> Path:
    """The data folder that runs of the demo live in."""
    return Reader(environ).get(OFFERHUB_DATA_DIR)


@contextmanager
def stage(folder: Path, progress: Progress, ledger_seconds: float) -> Iterator[Stage]:
    """Start everything; stop everything in the end, whatever happened. Raises DemoFailed, EmbeddedServicesError."""
    master_key = f"ohk_master_{secrets.token_hex(24)}"
    with ExitStack() as stack:
        with progress.step("PostgreSQL and Valkey of its own"):
            urls = stack.enter_context(embedded_services(folder))
        with progress.step(f"sandbox of Stellar and Trustless Work, a ledger every {ledger_seconds:g} s"):
            sandbox = sandbox_process(ledger_seconds=ledger_seconds, log_file=folder / "sandbox.log")
            try:
                pointed = stack.enter_context(sandbox)
            except RuntimeError as error:
                raise DemoFailed(f"{error}.") from error
        variables = {
            "DATABASE_URL": urls.database_url,
            "REDIS_URL": urls.redis_url,
            "OFFERHUB_DATA_DIR": str(folder),
            "OFFERHUB_MASTER_KEY": master_key,
            "PAYMENT_PROVIDER": "crypto",
            "RATE_LIMIT_MAX": "0",
            "DEPOSIT_POLL_SECONDS": str(min(ledger_seconds, 1.0)),
        }
        service = Service(folder, own_environment(os.environ) | pointed | variables)
        stack.callback(service.stop)
        with progress.step("the service: HTTP API and background jobs") as step:
            service.start()
            step.show(f"the service at {service.address}")
        try:
            yield Stage(service, pointed["OFFERHUB_SANDBOX_URL"], urls.database_url, master_key)
        finally:
            # A second Ctrl-C must not leave anything running behind.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
