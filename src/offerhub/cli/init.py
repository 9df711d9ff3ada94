"""`offerhub init`: from nothing to an installation that can be started, with its first API key."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import Console
from rich.prompt import Confirm

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.access.service import create_key
from offerhub.app import product
from offerhub.cli.checkup.report import Report
from offerhub.cli.checkup.servers import examine_postgres, examine_redis
from offerhub.cli.doctor import show
from offerhub.cli.environment import ENV_FILE, CommandError, run, services
from offerhub.cli.installer import env_file
from offerhub.cli.installer.questions import Answers, gather, is_interactive
from offerhub.cli.remote import AsJson
from offerhub.kernel.clock import SystemClock
from offerhub.runtime import migrations, telemetry
from offerhub.runtime.actor import system
from offerhub.settings import Settings, SettingsError, load, read_env_file

KEY_NAME: Final = "Admin Key"
KEY_SCOPES: Final = ("orders", "users", "balance", "withdrawals", "topups", "support")
"""Of the first key: everything that a marketplace's backend does, and the operator's routes."""
NO_ANSWERS: Final = Answers()

Switch = Annotated[bool, Parameter(negative="")]


@dataclass(slots=True)
class Installed:
    """What was done."""

    env_file: Path
    set_aside: Path | None = None
    migrations: int = 0
    wallets: list[dict[str, str]] = field(default_factory=list)
    api_key: str | None = None

    def wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "envFile": str(self.env_file),
            "setAside": None if self.set_aside is None else str(self.set_aside),
            "migrationsApplied": self.migrations,
            "wallets": self.wallets,
            "apiKey": self.api_key,
        }


def init(
    *,
    answers: Answers = NO_ANSWERS,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = ENV_FILE,
    replace: Switch = False,
    no_input: Switch = False,
    no_check: Switch = False,
    no_migrate: Switch = False,
    no_key: Switch = False,
    as_json: AsJson = False,
) -> None:
    """Set up an installation: ask what it needs, make its keys, write `.env`, prepare the database, make an API key.

    What a flag or a variable of the environment says is not asked for; without a terminal nothing is.

    Parameters
    ----------
    output
        The file to write; only its owner can read it.
    replace
        Move a file that is there aside (to `.env.before-1`), instead of stopping. Its keys, and what is not asked
        for, are taken over.
    no_input
        Ask nothing: what is not given has its default, or is named as missing.
    no_check
        Do not look whether PostgreSQL and Redis can be used.
    no_migrate
        Leave the database as it is; then no key is made either.
    no_key
        Do not make the first API key.
    """
    telemetry.configure(level="error", production=False)
    console = Console(stderr=True, soft_wrap=True)
    interactive = is_interactive(no_input=no_input)
    if output.exists() and not replace and not _may_replace(output, interactive=interactive, console=console):
        return
    set_already = {name: os.environ[name] for name in env_file.OWN_KEYS if os.environ.get(name)}
    before = {**read_env_file(output), **set_already}
    values = env_file.with_keys(gather(answers, interactive=interactive, console=console), before)
    text = env_file.render(values)
    settings = _settings(values)
    if not no_check:
        _check(settings, console, interactive=interactive)
    done = Installed(output, env_file.write(output, text))
    console.print(f"{output} written; only its owner can read it.", highlight=False)
    if not no_migrate:
        with services(settings) as running:
            run(_prepare(running, done, make_key=not no_key))
    if as_json:
        print(json.dumps(done.wire(), indent=2))
    else:
        _tell(done, settings, console)


def _may_replace(path: Path, *, interactive: bool, console: Console) -> bool:
    if not interactive:
        raise CommandError(f"{path} exists, and is left as it is: --replace moves it aside first.")
    return Confirm.ask(f"{path} exists. Move it aside and write another?", console=console, default=False)


def _settings(values: Mapping[str, str]) -> Settings:
    try:
        return load({**os.environ, **values})
    except SettingsError as error:
        raise CommandError("nothing was written.\n" + str(error)) from error


def _check(settings: Settings, console: Console, *, interactive: bool) -> None:
    report = Report()
    asyncio.run(_examine(report, settings))
    unusable = [line for line in report.lines if line.state == "failed"]
    if report.lines:
        show(report, console)
    if unusable and not (interactive and Confirm.ask("Go on all the same?", console=console, default=False)):
        print("offerhub: nothing was written (--no-check goes on without looking).", file=sys.stderr)
        sys.exit(1)


async def _examine(report: Report, settings: Settings) -> None:
    clock = SystemClock()
    if settings.storage.redis_url:
        await examine_redis(report, settings, clock)
    if settings.storage.database_url:
        await examine_postgres(report, settings, clock)


async def _prepare(settings: Settings, done: Installed, *, make_key: bool) -> None:
    done.migrations = len(await migrations.migrate(settings.storage.direct_url.reveal()))
    async with product(settings) as made:
        wallets = await made.bootstrap()
        done.wallets = [{"purpose": one.purpose, "address": one.public_key} for one in wallets]
        if make_key:
            actor = system(DEFAULT_MARKETPLACE_ID, "init")
            new = await made.database.run(
                lambda tx: create_key(
                    tx, actor, name=KEY_NAME, scopes=KEY_SCOPES, user_id=None, marketplace_id=None, expires_at=None
                )
            )
            done.api_key = new.credential


def _tell(done: Installed, settings: Settings, console: Console) -> None:
    if done.set_aside is not None:
        console.print(f"The file that was there is {done.set_aside} now; its keys were taken over.", highlight=False)
    if done.wallets:
        console.print(f"{done.migrations} migrations applied.", highlight=False)
        for wallet in done.wallets:
            console.print(f"{wallet['purpose']} wallet {wallet['address']}", highlight=False)
        if settings.stellar.network == "mainnet":
            console.print("Send XLM to the platform wallet; the service then sets up the others.")
    if done.api_key is not None:
        console.print(f"The first API key, with {', '.join(KEY_SCOPES)}. It is not shown again:", highlight=False)
        print(done.api_key)
    console.print(
        f"Keep a copy of {done.env_file} apart from the database's backups: without its keys wallets are lost."
    )
    if settings.is_production or settings.trustless_work.api_key:
        console.print("Then: `offerhub serve`, and `offerhub doctor` beside it.")
    else:
        console.print("Then: `offerhub dev`, which brings a sandbox of the providers with it.")
