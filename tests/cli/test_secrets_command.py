"""`offerhub secrets generate`: keys that the settings accept, in files that only their owner reads."""

import json
import stat
from pathlib import Path

import pytest

from offerhub.cli.environment import CommandError
from offerhub.cli.secrets import GENERATED, generate
from offerhub.settings import load, read_env_file


def test_what_is_made_is_what_production_needs(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    generate(output=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = read_env_file(path)
    assert set(made) == set(GENERATED)
    settings = load(
        {
            **made,
            "NODE_ENV": "production",
            "DATABASE_URL": "postgresql://offerhub:pw@db/offerhub?sslmode=require",
            "REDIS_URL": "rediss://:pw@redis:6379",
            "TRUSTLESS_API_KEY": "given by Trustless Work",
        }
    )
    assert settings.keys.master_key.reveal() == made["OFFERHUB_MASTER_KEY"]
    assert settings.keys.wallet_key.reveal().hex() == made["WALLET_ENCRYPTION_KEY"]


def test_they_differ_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    generate(as_json=True)
    first = json.loads(capsys.readouterr().out)
    generate(as_json=True)
    second = json.loads(capsys.readouterr().out)
    assert set(first) == set(second)
    assert len({*first.values(), *second.values()}) == 2 * len(first)


def test_only_those_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    generate("WALLET_ENCRYPTION_KEY")
    comment, line = capsys.readouterr().out.splitlines()
    assert comment.startswith("# ")
    assert line.startswith("WALLET_ENCRYPTION_KEY=")
    with pytest.raises(CommandError, match="AIRTM_API_KEY cannot be made here"):
        generate("AIRTM_API_KEY")


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("OFFERHUB_MASTER_KEY=the only copy\n")
    with pytest.raises(CommandError, match="left as it is"):
        generate(output=path)
    assert path.read_text() == "OFFERHUB_MASTER_KEY=the only copy\n"
    with pytest.raises(CommandError, match="cannot be written"):
        generate(output=tmp_path / "nowhere" / "file")
