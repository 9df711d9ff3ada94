"""What start-up imports must not load stellar-sdk, which takes more than a second, nor what few processes need."""

import subprocess
import sys

import pytest

LIGHT = [
    "offerhub.providers.stellar.horizon",
    "offerhub.providers.stellar.keys",
    "offerhub.providers.stellar.network",
    "offerhub.providers.trustless_work.client",
    "offerhub.providers.trustless_work.fees",
    "offerhub.providers.trustless_work.intents",
    "offerhub.runtime.http",
    "offerhub.runtime.vault",
]


def test_the_light_modules_are_light() -> None:
    code = f"import sys, {', '.join(LIGHT)}; sys.exit('stellar_sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_service_begins_without_what_few_need() -> None:
    """stellar-sdk is loaded beside the start, Markdown for the page /docs, aiohttp's server for METRICS_PORT."""
    few_need = {"stellar_sdk", "markdown_it", "aiohttp.web"}
    code = f"import sys, offerhub.cli.serve; print(*{few_need}.intersection(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []


@pytest.mark.parametrize("module", ["offerhub.providers.stellar.transactions"])
def test_the_check_itself_can_fail(module: str) -> None:
    code = f"import sys, {module}; sys.exit('stellar_sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
