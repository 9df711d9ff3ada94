"""`offerhub wallets`: which keys seal the wallets, and sealing them anew under the current one."""

import itertools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.cli.database import with_database
from offerhub.cli.remote import AsJson
from offerhub.edge import idempotency
from offerhub.kernel.clock import SystemClock
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database
from offerhub.runtime.vault import Vault
from offerhub.settings import Settings
from offerhub.wallets import rotation
from offerhub.wallets.keyring import Keyring
from offerhub.webhook_endpoints import rotation as webhook_rotation
from offerhub.webhook_endpoints.signing import SecretBox

NAME: Final = "offerhub wallets"
UNREADABLE_SHOWN_MAX: Final = 50
"""How many wallets that do not open the table names."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found and did. Versions are numbers of keys; `unreadable` is the id of a wallet, or of a webhook
    endpoint and the number of its secret, to reason."""

    current: int
    known: list[int]
    wallets: Mapping[int, int]
    secrets: Mapping[int, int]
    """Secrets of webhook endpoints, which the same keys seal."""
    rotated: int
    rotated_secrets: int
    answers: int
    unreadable: Mapping[str, str]
    dry: bool = False

    @property
    def missing(self) -> list[int]:
        """Versions in use for which there is no key."""
        return sorted(version for version in {*self.wallets, *self.secrets} if version not in self.known)

    @property
    def others(self) -> int:
        """Wallets and webhook secrets that are not under the current key."""
        counted = (*self.wallets.items(), *self.secrets.items())
        return sum(count for version, count in counted if version != self.current)

    def wire(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "currentVersion": self.current,
            "knownVersions": self.known,
            "missingVersions": self.missing,
            "walletsByVersion": {str(version): count for version, count in self.wallets.items()},
            "webhookSecretsByVersion": {str(version): count for version, count in self.secrets.items()},
            "remaining": self.others,
            "rotatedWallets": self.rotated,
            "rotatedWebhookSecrets": self.rotated_secrets,
            "rotatedAnswers": self.answers,
            "unreadable": dict(self.unreadable),
            "dryRun": self.dry,
        }


async def _report(database: Database, vault: Vault, **done: Any) -> Report:
    wallets = await rotation.wallets_by_version(database)
    secrets = await webhook_rotation.secrets_by_version(database)
    return Report(vault.current, sorted(vault.keys), wallets, secrets, **done)


async def _status(settings: Settings, database: Database) -> Report:
    return await _report(database, _vault(settings), rotated=0, rotated_secrets=0, answers=0, unreadable={})


def _vault(settings: Settings) -> Vault:
    return Vault(settings.keys.wallet_keys, settings.keys.wallet_key_version)


async def _rotate(settings: Settings, database: Database, *, batch: int, dry: bool) -> Report:
    vault = _vault(settings)
    keyring = Keyring(database, vault, settings.stellar.passphrase)
    actor = system(DEFAULT_MARKETPLACE_ID, "rotation")
    turn = rotation.Rotation(database, keyring, vault.current, actor, SystemClock(), batch=batch, dry=dry)
    before = await rotation.wallets_by_version(database)
    with _bar(Console(stderr=True)) as bar:
        total = sum(count for version, count in before.items() if version != vault.current)
        task = bar.add_task("wallets", total=total)
        done = await turn.run(lambda seen: bar.update(task, advance=seen))
    secrets = await webhook_rotation.rotate(database, SecretBox(vault), actor, dry=dry)
    answers = 0 if dry else await _rotate_answers(database, vault)
    return await _report(
        database,
        vault,
        rotated=done.wallets,
        rotated_secrets=secrets.secrets,
        answers=answers,
        unreadable=done.unreadable | secrets.unreadable,
        dry=dry,
    )


async def _rotate_answers(database: Database, vault: Vault) -> int:
    """Seal kept answers anew as well: a repetition of their request must still get them without the old key."""
    after, total = ("", ""), 0
    while True:
        batch = await database.run(partial(idempotency.reseal, vault=vault, after=after))
        if batch is None:
            return total
        after, total = batch.last, total + batch.resealed


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _show(report: Report, console: Console) -> None:
    table = Table("key version", Column("wallets", justify="right"), Column("webhook secrets", justify="right"), "")
    for version in sorted({*report.wallets, *report.secrets, *report.known}):
        words = ["current"] if version == report.current else []
        words += [] if version in report.known else ["[red]no key for it[/red]"]
        counted = [str(counts.get(version, 0)) for counts in (report.wallets, report.secrets)]
        table.add_row(str(version), *counted, " ".join(words))
    console.print(table)
    for wallet_id, reason in itertools.islice(report.unreadable.items(), UNREADABLE_SHOWN_MAX):
        console.print(f"[red]does not open:[/red] {wallet_id}: {reason}", highlight=False)
    if len(report.unreadable) > UNREADABLE_SHOWN_MAX:
        console.print(f"… and {len(report.unreadable) - UNREADABLE_SHOWN_MAX} more (--json names all)")


def status(*, as_json: AsJson = False) -> None:
    """Show how many wallets each version of the key seals. Exits with 1 when there is no key for one of them."""
    report = with_database(_status, NAME)
    if as_json:
        print(json.dumps(report.wire(), indent=2))
    else:
        _show(report, Console())
    if report.missing:
        sys.exit(1)


def rotate(
    *,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    batch: Annotated[int, Parameter(validator=Number(gte=1, lte=rotation.BATCH_MAX))] = rotation.BATCH_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Seal all wallets anew under the current key, while the service runs. Safe to stop and to repeat.

    Wallets that open under no known key are named and left as they are. Exits with 1 when wallets remain that are
    not under the current key.

    Parameters
    ----------
    dry_run
        Open every wallet, but change nothing; exits with 1 when one does not open.
    batch
        How many wallets one transaction seals.
    """
    report = with_database(partial(_rotate, batch=batch, dry=dry_run), NAME)
    if as_json:
        print(json.dumps(report.wire(), indent=2))
    else:
        console = Console()
        _show(report, console)
        would = "would be sealed" if dry_run else "sealed"
        console.print(
            f"{report.rotated} wallets, {report.rotated_secrets} webhook secrets and {report.answers} kept answers "
            f"{would} under version {report.current}"
        )
    if report.unreadable or (report.others and not dry_run):
        sys.exit(1)
