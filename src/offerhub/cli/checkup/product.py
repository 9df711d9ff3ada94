"""What needs the database: wallets' keys, backups, the queue, the providers, deposits and treasury."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from offerhub import parts, probes
from offerhub.app import Product, product
from offerhub.cli.checkup.report import Report
from offerhub.cli.checkup.servers import ANSWER_SECONDS_MAX, compare_clocks
from offerhub.errors import Refusal
from offerhub.kernel.clock import Clock
from offerhub.operations import store
from offerhub.operations.model import Shortcoming
from offerhub.runtime.queue import Queues
from offerhub.settings import Settings
from offerhub.wallets.keyring import MissingWalletKeys, WrongWalletKey

REMEDIES: Final[Mapping[str, str]] = {
    "queue": "offerhub queues shows them; start `offerhub worker`, or look at `offerhub dlq list`.",
    "trustlessWork": "Check TRUSTLESS_API_URL and TRUSTLESS_API_KEY: ask Trustless Work for a key of this network.",
    "airtm": "Check AIRTM_ENV, AIRTM_API_KEY and AIRTM_API_SECRET: they are another pair for the sandbox.",
    "stellar": "Check STELLAR_HORIZON_URL; if XLM is short, send some to the platform's wallet (offerhub bootstrap).",
    "stellarRpc": "Check STELLAR_RPC_URL, or leave it out.",
    "deposits": "See “Where deposits are read” in docs/operating/running.md.",
    "treasury": "Send USDC to the treasury's account (docs/operating/running.md).",
}
"""By the names of health; database, schema and redis are looked at elsewhere."""
BACKUP_HOURS_MAX: Final = 26
"""One a day, and what it takes; the alert OfferhubBackupOld waits as long."""
LOST_KEY: Final = (
    "Bring back the key that sealed them: without it their money cannot move (docs/operating/secrets.md)."
)
NOT_YET: Final = "The platform's account is not set up yet"


async def examine_product(report: Report, settings: Settings, clock: Clock, *, redis_usable: bool) -> None:
    """Look at everything that a process is made of. The database must be usable."""
    async with product(settings) as made:
        await _wallets(report, made)
        if settings.is_production:
            await _backups(report, made)
        client, queues = parts.prompt_redis(settings), Queues(settings.storage.redis_url.reveal())
        try:
            for name, probe in probes.probes(made, client, queues).items():
                if name not in REMEDIES or probe.check is None:
                    continue
                if name == "queue" and not redis_usable:
                    report.skipped(name, "Redis first")
                else:
                    await _asked(report, name, probe.check)
        finally:
            await client.aclose()
            await queues.close()
        await _network(report, settings, clock)


async def _wallets(report: Report, made: Product) -> None:
    try:
        await made.keyring.require_keys()
    except MissingWalletKeys as error:
        report.failed("wallet keys", str(error), LOST_KEY)
        return
    opens = await made.keyring.opens_by_version()
    if not all(opens.values()):
        report.failed("wallet keys", str(WrongWalletKey()), LOST_KEY)
    else:
        report.ok("wallet keys", "every version of the wallets' key opens" if opens else "there are no wallets yet")


async def _backups(report: Report, made: Product) -> None:
    age, failing = await made.database.run(store.backup_state, read_only=True)
    if failing:
        remedy = "PostgreSQL's own log says why archive_command fails (docs/operating/backup.md)."
        report.failed("backups", "the write-ahead log cannot be archived", remedy)
    elif age is None:
        report.ok("backups", "PostgreSQL archives its write-ahead log")
    elif age > BACKUP_HOURS_MAX * 3600:
        remedy = "Make one a day with `offerhub backup`, and see why there is none (docs/operating/backup.md)."
        report.warning("backups", f"none for {age / 3600:.0f} hours", remedy)
    else:
        report.ok("backups", "the next one is not due")


async def _asked(report: Report, name: str, check: Callable[[], Awaitable[Any]]) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            facts = await check()
    except Shortcoming as shortcoming:
        said = f"{shortcoming}"
        if said == NOT_YET:
            report.warning(name, said, "offerhub bootstrap makes it, and says where to send XLM on mainnet.")
        else:
            report.failed(name, said, REMEDIES[name])
    except (Refusal, OSError) as error:
        report.failed(name, _told(error), REMEDIES[name])
    else:
        lag = None if facts is None else facts.lag
        report.ok(name, "answers" if lag is None else f"{lag:.0f} s behind")


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS_MAX:g} s"
    return error.message if isinstance(error, Refusal) else str(error) or type(error).__name__


async def _network(report: Report, settings: Settings, clock: Clock) -> None:
    """Horizon's own word on which network it serves, and the time of its answer."""
    stellar = settings.stellar
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http:
            before = clock.now()
            async with http.get(f"{stellar.horizon_url}/", headers={"accept": "application/json"}) as answer:
                told, dated = await answer.json(content_type=None), answer.headers.get("date")
            after = clock.now()
    except (aiohttp.ClientError, OSError, ValueError):
        report.skipped("network", "Horizon does not say which network it serves")
        return
    served = told.get("network_passphrase") if isinstance(told, dict) else None
    if served != stellar.passphrase:
        report.failed(
            "network",
            f"STELLAR_HORIZON_URL serves “{served}”, and the service is set to “{stellar.passphrase}”",
            "Make STELLAR_NETWORK and STELLAR_HORIZON_URL agree; never point books at another network.",
        )
    else:
        report.ok("network", f"Horizon serves {stellar.network}")
    theirs = _moment(dated)
    if theirs is not None:
        compare_clocks(report, "Horizon's", before, theirs, after)


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else parsedate_to_datetime(text)
    except ValueError:
        return None
