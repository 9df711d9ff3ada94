"""Running sandboxes."""

from collections.abc import AsyncIterator

import pytest
from sandbox_driver import PASSPHRASE, Sandbox, running

from offerhub.sandbox.options import SandboxOptions


@pytest.fixture(scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox with quick ledgers, shared by all tests: each makes its own accounts."""
    options = SandboxOptions(ledger_seconds=0.01, network_passphrase=PASSPHRASE, seed=7)
    async with running(options) as started:
        yield started


@pytest.fixture
async def manual() -> AsyncIterator[Sandbox]:
    """A sandbox of its own whose ledgers close only on demand."""
    options = SandboxOptions(ledger_seconds=0, network_passphrase=PASSPHRASE, seed=8, submission_timeout_seconds=0.1)
    async with running(options) as started:
        yield started
