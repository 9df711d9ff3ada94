"""The sources of metrics about what runs low or grows old: accounts on the chain, keys, certificate, backups."""

from collections.abc import Sequence
from typing import Final

from offerhub.kernel.clock import Clock
from offerhub.operations import store
from offerhub.runtime.certificate import valid_seconds
from offerhub.runtime.database import Database
from offerhub.runtime.metrics import Reading, Source
from offerhub.runtime.urgency import Urgency, working
from offerhub.treasury.service import Treasury
from offerhub.wallets.platform import PlatformAccount

ACCOUNTS_SECONDS: Final = 60.0
KEYS_SECONDS: Final = 300.0
CERTIFICATE_SECONDS: Final = 900.0
BACKUPS_SECONDS: Final = 60.0


def sources(
    database: Database, clock: Clock, platform: PlatformAccount, treasury: Treasury, public_url: str
) -> tuple[Source, ...]:
    """What an operator refills or renews. Amounts are in units of 10^-7; what is not there has no value."""

    async def accounts() -> Sequence[Reading]:
        with working(Urgency.PROBE):
            xlm = await platform.spendable()
            usdc = await treasury.holds() if treasury.airtm is not None else None
        floor = treasury.floor if treasury.airtm is not None else None
        return (
            _one("offerhub_platform_xlm_units", "The XLM of the platform's account above its reserves.", xlm),
            _one("offerhub_treasury_units", "The USDC on the treasury's account.", usdc),
            _one("offerhub_treasury_floor_units", "Less than this in the treasury is too little.", floor),
        )

    async def keys() -> Sequence[Reading]:
        ages = await database.run(store.key_ages, read_only=True)
        return (
            _one("offerhub_wallet_key_age_seconds", "How long ago the wallets' key was last replaced.", ages[0]),
            _one("offerhub_api_key_oldest_seconds", "The age of the oldest API key that is valid.", ages[1]),
        )

    async def certificate() -> Sequence[Reading]:
        left = await valid_seconds(public_url, clock)
        return (_one("offerhub_certificate_valid_seconds", "How long the public certificate is still valid.", left),)

    async def backups() -> Sequence[Reading]:
        age, failing = await database.run(store.backup_state, read_only=True)
        return (
            _one("offerhub_backup_age_seconds", "How long ago the last backup was made.", age),
            _one("offerhub_wal_archiving_failing", "1 while PostgreSQL cannot archive its write-ahead log.", failing),
        )

    return (
        Source("accounts", ACCOUNTS_SECONDS, accounts),
        Source("keys", KEYS_SECONDS, keys),
        Source("certificate", CERTIFICATE_SECONDS, certificate),
        Source("backups", BACKUPS_SECONDS, backups),
    )


def _one(name: str, words: str, value: float | None) -> Reading:
    return Reading(name, words, [] if value is None else [((), value)])
