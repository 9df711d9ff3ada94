"""`offerhub init`: an installation from nothing, with and without somebody to answer."""

import asyncio
import json
import os
import pty
import select
import stat
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from offerhub.cli.environment import CommandError
from offerhub.cli.init import KEY_SCOPES, init
from offerhub.cli.installer.questions import Answers
from offerhub.runtime import telemetry
from offerhub.runtime.migrations import read_migrations
from offerhub.settings import load, read_env_file
from support.command import INHERITED, offerhub
from support.outside import PATIENCE_SECONDS
from support.product import running


def without_servers(tmp_path: Path, answers: Answers, **more: Any) -> dict[str, str]:
    init(answers=answers, output=tmp_path / ".env", no_input=True, no_check=True, no_migrate=True, **more)
    return read_env_file(tmp_path / ".env")


def answers(**given: str) -> Answers:
    told = {
        "environment": "production",
        "public_url": "https://pay.example",
        "database_url": "postgresql://offerhub:pw@db.example/offerhub?sslmode=require",
        "redis_url": "rediss://:p w@redis.example:6379",
        "trustless_api_key": "trustless.key",
    }
    return Answers(**(told | given))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where the tests run, with no variables of theirs, and leaving their log as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(telemetry, "configure", lambda **_: None)
    keys = ("OFFERHUB_MASTER_KEY", "WALLET_ENCRYPTION_KEY", "OFFERHUB_JWT_SECRET")
    for name in (*keys, "DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


async def test_from_nothing_to_a_service_that_takes_the_first_key(
    tmp_path: Path, empty_database_url: str, office_environ: dict[str, str], http: aiohttp.ClientSession
) -> None:
    redis_url = office_environ["REDIS_URL"]
    words = ("init", "--no-input", "--json", "--database-url", empty_database_url, "--redis-url", redis_url)
    code, printed = await offerhub(tmp_path, *words, OFFERHUB_MASTER_KEY="", STELLAR_CHANNEL_ACCOUNTS="0")
    assert code == 0, printed
    found = json.loads(printed[printed.index("{") :])
    assert found["migrationsApplied"] == len(read_migrations())
    assert {one["purpose"] for one in found["wallets"]} >= {"platform"}
    path = tmp_path / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = read_env_file(path)
    assert not any(written[name] in printed for name in ("OFFERHUB_MASTER_KEY", "WALLET_ENCRYPTION_KEY"))

    async with running({**office_environ, **written}, jobs=False) as live:
        headers = {"authorization": f"Bearer {found['apiKey']}"}
        async with http.get(f"{live.url}/api/v1/auth/me", headers=headers) as answer:
            assert (answer.status, set((await answer.json())["data"]["scopes"])) == (200, set(KEY_SCOPES))
        body = {"externalUserId": "first"}
        async with http.post(f"{live.url}/api/v1/users", headers=headers, json=body) as answer:
            assert answer.status == 201


def test_the_file_is_one_that_production_starts_with(tmp_path: Path) -> None:
    written = without_servers(tmp_path, answers())
    settings = load(written)
    assert settings.is_production
    assert settings.storage.redis_url.reveal() == "rediss://:p w@redis.example:6379"
    assert (settings.stellar.network, settings.payments.rail) == ("mainnet", "crypto")
    assert settings.trustless_work.webhook_secret, "made, as nobody gave one"


def test_on_the_rail_of_airtm(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as refused:
        without_servers(tmp_path, answers(provider="airtm", trustless_api_key="t.key"))
    named = ("--airtm-api-key (or AIRTM_API_KEY)", "--airtm-api-secret", "--airtm-webhook-secret")
    assert all(flag in str(refused.value) for flag in named)
    given = {"airtm_api_key": "k", "airtm_api_secret": "s", "airtm_webhook_secret": "whsec_" + "C2FVsBQIhrscChlQ" * 2}
    written = without_servers(tmp_path, answers(provider="airtm", **given))
    assert (written["PAYMENT_PROVIDER"], written["AIRTM_ENV"]) == ("airtm", "prod")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"database_url": "mysql://u:p@h/d"}, "--database-url must be an URL that begins with postgresql://"),
        ({"environment": "live"}, "--environment must be one of development"),
        ({"database_url": "embedded"}, "DATABASE_URL must be set in production"),
        ({"trustless_webhook_secret": "your-secret"}, "must not be the text of a sample file"),
    ],
)
def test_what_the_service_would_refuse_is_refused(tmp_path: Path, given: dict[str, str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        without_servers(tmp_path, answers(**given))
    assert not (tmp_path / ".env").exists()


def test_a_file_that_is_there_is_moved_aside_when_told_and_its_keys_stay(tmp_path: Path) -> None:
    first = without_servers(tmp_path, answers())
    (tmp_path / ".env").write_text((tmp_path / ".env").read_text() + "ALLOWED_ORIGINS=https://shop.example\nMINE=1\n")
    with pytest.raises(CommandError, match="left as it is"):
        without_servers(tmp_path, answers(port="4100"))
    second = without_servers(tmp_path, answers(port="4100"), replace=True)
    kept = ("OFFERHUB_MASTER_KEY", "WALLET_ENCRYPTION_KEY", "OFFERHUB_JWT_SECRET")
    assert [second[name] for name in kept] == [first[name] for name in kept]
    assert (second["PORT"], second["ALLOWED_ORIGINS"], second["MINE"]) == ("4100", "https://shop.example", "1")
    aside = tmp_path / ".env.before-1"
    assert (read_env_file(aside)["PORT"], stat.S_IMODE(aside.stat().st_mode)) == ("4000", 0o600)


def test_servers_that_cannot_be_used_are_found_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = answers(database_url="postgresql://u:p@127.0.0.1:9/d", redis_url="redis://127.0.0.1:9")
    with pytest.raises(SystemExit) as ended:
        init(answers=nowhere, output=tmp_path / ".env", no_input=True)
    told = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 1
    assert "nothing was written" in told
    assert not (tmp_path / ".env").exists()


async def test_it_asks_and_asks_again(tmp_path: Path, fresh_database_url: str, redis_url: str) -> None:
    """At a terminal: a wrong answer is asked for again, and Enter takes what is offered."""
    near, far = pty.openpty()
    inherited = {name: text for name, text in os.environ.items() if name in INHERITED}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from offerhub.cli.main import main; main()", "init", "--no-migrate"),
        cwd=tmp_path,
        env={**inherited, "COLUMNS": "200", "TERM": "dumb"},
        stdin=far,
        stdout=far,
        stderr=far,
        start_new_session=True,
    )
    os.close(far)
    heard = ""
    dialogue = (
        ("What kind of installation", ""),
        ("Port of the service", "port"),
        ("must be a whole number", ""),
        ("Port of the service", "4100"),
        ("Where the world reaches it", ""),
        ("PostgreSQL", fresh_database_url),
        ("Redis", redis_url),
        ("How users pay in", ""),
        ("Stellar network", ""),
        ("Trustless Work API key", ""),
        ("Its webhook secret", ""),
        ("offerhub dev", None),
    )
    loop = asyncio.get_running_loop()
    hidden = False

    async def until(words: str) -> None:
        """Listen. A hidden question throws away what was typed before it was ready: Enter once more."""
        nonlocal heard
        deadline = loop.time() + PATIENCE_SECONDS
        while words not in heard:
            assert loop.time() < deadline, f"still waiting for {words!r}, heard {heard!r}"
            readable, _, _ = await loop.run_in_executor(None, select.select, [near], [], [], 1.0)
            if readable:
                heard += os.read(near, 4096).decode(errors="replace")
            elif hidden:
                os.write(near, b"\n")
        heard = heard[heard.index(words) + len(words) :]

    try:
        for words, line in dialogue:
            await until(words)
            hidden = words in ("Trustless Work API key", "Its webhook secret")
            if line is not None and words != "must be a whole number":
                os.write(near, f"{line}\n".encode())
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(near)
    written = read_env_file(tmp_path / ".env")
    assert (written["PORT"], written["NODE_ENV"], written["DATABASE_URL"]) == (
        "4100",
        "development",
        fresh_database_url,
    )
    assert "TRUSTLESS_API_KEY" not in written
