"""The composition root: the one place that knows every slice and ties them to the outside world.

`Product` holds what a process is made of; `http_application` puts the edge in front of it. Nothing here decides
anything about money.
"""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Mapping

import redis.asyncio
from starlette.types import ASGIApp

from offerhub import parts, probes
from offerhub.access import api as access_api
from offerhub.access.authenticator import Credentials
from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.access.tokens import TokenSigner
from offerhub.audit import api as audit_api
from offerhub.balances import api as balances_api
from offerhub.disputes import api as disputes_api
from offerhub.disputes.service import open_found
from offerhub.disputes.steps import Resolve
from offerhub.edge import api as edge_api
from offerhub.edge import application, documentation
from offerhub.edge.cors import Cors
from offerhub.edge.rate_limit import RateLimiter
from offerhub.edge.streams import Streams
from offerhub.escrows.steps import Contracts
from offerhub.events import api as events_api
from offerhub.events import metrics as events_metrics
from offerhub.events.feed import Feed
from offerhub.events.subscription import Limits
from offerhub.findings import api as findings_api
from offerhub.findings import metrics as findings_metrics
from offerhub.kernel.clock import Clock, SystemClock
from offerhub.kernel.version import VERSION
from offerhub.lines import lines
from offerhub.operations import api as operations_api
from offerhub.operations import maintenance, reserves
from offerhub.operations import metrics as operations_metrics
from offerhub.operations.maintenance import MaintenanceGate
from offerhub.operations.model import Probe, PublicConfig
from offerhub.operations.proof import prove
from offerhub.operations.radar import Radar
from offerhub.orders import api as orders_api
from offerhub.orders import steps as order_steps
from offerhub.orders.service import EscrowPolicy
from offerhub.policies import api as policies_api
from offerhub.policies.service import firing
from offerhub.providers.stellar.credits import CreditStream, HorizonCredits, RpcCredits
from offerhub.providers.stellar.fees import Fees
from offerhub.providers.stellar.horizon import Horizon
from offerhub.providers.stellar.network import Network
from offerhub.providers.stellar.rpc import Rpc
from offerhub.providers.trustless_work.client import TrustlessWork
from offerhub.queues import NAMES
from offerhub.queues import check as check_queues
from offerhub.reconciliation import api as reconciliation_api
from offerhub.reconciliation import jobs as reconciliation_jobs
from offerhub.reconciliation.jobs import Violations
from offerhub.reconciliation.model import ReconciliationJob
from offerhub.reconciliation.service import Reconciliation
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database
from offerhub.runtime.doorbell import Doorbell
from offerhub.runtime.http import HttpClient
from offerhub.runtime.jobs import Priority
from offerhub.runtime.metrics import Metrics
from offerhub.runtime.queue import Queues
from offerhub.runtime.routes import Route
from offerhub.runtime.statements import Batches
from offerhub.runtime.vault import Vault
from offerhub.sagas.bumps import Bumps
from offerhub.sagas.chain import Chain
from offerhub.sagas.engine import Engine
from offerhub.settings import Settings
from offerhub.topups import api as topups_api
from offerhub.topups.service import TopUps
from offerhub.topups.steps import CreateTopUp
from offerhub.treasury import api as treasury_api
from offerhub.treasury.service import Treasury
from offerhub.users import api as users_api
from offerhub.users.linking import Linking
from offerhub.users.service import Users
from offerhub.users.steps import LinkAirtm
from offerhub.wallets import api as wallets_api
from offerhub.wallets.deposits import DepositWatcher
from offerhub.wallets.keyring import Keyring
from offerhub.wallets.model import Wallet
from offerhub.wallets.platform import PlatformAccount
from offerhub.wallets.service import Wallets
from offerhub.wallets.steps import OwnTransactions, Provision
from offerhub.webhook_endpoints import api as webhook_endpoints_api
from offerhub.webhook_endpoints.out import WebhooksOut
from offerhub.webhooks import api as webhooks_api
from offerhub.withdrawals import airtm_steps
from offerhub.withdrawals import api as withdrawals_api
from offerhub.withdrawals.service import Withdrawals
from offerhub.withdrawals.steps import PayOut


class Product:
    """Everything one process is made of. Open it with `product(settings)`."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        http: HttpClient,
        client: "redis.asyncio.Redis | None" = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.batches = Batches(database)
        self.clock: Clock = clock or SystemClock()
        self.network = Network(
            passphrase=settings.stellar.passphrase,
            horizon_url=settings.stellar.horizon_url,
            usdc_issuer=settings.stellar.usdc_issuer,
            usdc_code=settings.stellar.usdc_asset_code,
            friendbot_url=settings.stellar.friendbot_url,
        )
        self.metrics = Metrics(self.clock, VERSION)
        self.radar = Radar(settings.payments.stuck_budget_percent)
        self.lines = lines(settings, http, self.clock, client, self.metrics.call)
        self.horizon = Horizon(
            self.lines.stellar,
            self.network,
            friendbot=self.lines.friendbot,
            timeout_seconds=settings.stellar.timeout_ms / 1000,
        )
        trustless = settings.trustless_work
        self.trustless_work = TrustlessWork(
            self.lines.trustless_work,
            trustless.api_url,
            trustless.api_key.reveal(),
            timeout_seconds=trustless.timeout_ms / 1000,
        )
        self.airtm = parts.airtm(self.lines.airtm, settings.airtm)
        keys = settings.keys
        self.vault = Vault(keys.wallet_keys, keys.wallet_key_version)
        self.engine = Engine(database, self.clock)
        self.keyring = Keyring(database, self.vault, self.network.passphrase)
        self.platform = PlatformAccount(database, self.horizon, self.keyring)
        self.wallets = Wallets(
            self.engine,
            self.keyring,
            self.network,
            channels=settings.stellar.channel_accounts,
            treasury=self.airtm is not None,
        )
        self.treasury = Treasury(database, self.horizon, self.airtm, settings.payments.treasury_floor)
        self.rpc: Rpc | None = None
        if self.lines.rpc is not None and settings.stellar.rpc_url is not None:
            seconds = settings.stellar.timeout_ms / 1000
            self.rpc = Rpc(self.lines.rpc, self.network, settings.stellar.rpc_url, timeout_seconds=seconds)
        self.deposits = self._deposit_watcher()
        self.topups = TopUps(self.engine, database, self.airtm, parts.return_addresses(settings.airtm))
        payments, on_airtm = settings.payments, self.airtm is not None
        terms = EscrowPolicy(payments.platform_fee_basis_points, self.network, treasury=on_airtm)
        self.policies = firing(self.engine, terms, self.clock, payments.policy_clock_ahead_seconds)
        self.inbox = parts.inbox(settings, database, self.batches, self.clock)
        self.webhooks_out = WebhooksOut(settings.webhooks_out, database, self.vault, self.clock)
        self.tokens = TokenSigner(keys.token_secret.reveal())
        self._open_streams()
        self._tell_metrics()
        self.reconciliation = Reconciliation(database, self.clock, self._reconciliation_jobs())
        self._register_plans()

    def _deposit_watcher(self) -> DepositWatcher:
        """One of the two adapters books; the other, if it is there, fills gaps."""
        by_horizon = HorizonCredits(self.horizon)
        by_rpc = None if self.rpc is None else RpcCredits(self.rpc)
        source: CreditStream = by_horizon
        other: CreditStream | None = by_rpc
        if by_rpc is not None and self.settings.stellar.deposit_source == "rpc":
            source, other = by_rpc, by_horizon

        async def halt(reason: str) -> None:
            words = f"The Stellar network is not the one that the books are about: {reason}."
            await self.database.run(
                lambda tx: maintenance.halt(tx, system(DEFAULT_MARKETPLACE_ID, "deposits"), words)
            )

        poll = self.settings.stellar.deposit_poll_seconds
        return DepositWatcher(self.database, source, other, self.horizon, self.clock, poll, halt)

    def _reconciliation_jobs(self) -> list[ReconciliationJob]:
        jobs = reconciliation_jobs.chain_jobs(
            self.database,
            self.clock,
            self.horizon,
            self.trustless_work,
            self.engine,
            deposits_scheduled=self.settings.stellar.reconciliation_enabled,
        )
        if self.airtm is not None:
            jobs += reconciliation_jobs.airtm_jobs(self.database, self.airtm)
        jobs += reconciliation_jobs.policy_jobs(self.database, self.policies, self.topups)
        jobs.append(
            reconciliation_jobs.totals_job(self.database, self.clock, self.horizon, self.deposits, self.airtm)
        )
        return [*jobs, reconciliation_jobs.books_job(self.database, self._violations)]

    async def _violations(self) -> Violations:
        found = (await prove(self.database)).findings
        return {f"{one.check.invariant}: {one.check.sentence}": one.rows for one in found}

    def _open_streams(self) -> None:
        """What event streams need, and what tells them that something was committed."""
        settings, events = self.settings, self.settings.events
        self.doorbell = Doorbell(settings.storage.redis_url.reveal())
        self.database.committed = self.doorbell.ring
        limits = Limits(events.poll_seconds, events.heartbeat_seconds, events.buffer)
        self.feed = Feed(self.database, self.doorbell, self.clock, limits)
        self.credentials = Credentials(
            self.database,
            master_key=settings.keys.master_key.reveal(),
            previous_master_key=settings.keys.previous_master_key.reveal(),
            signer=self.tokens,
            clock=self.clock,
        )
        self.streams = Streams(self.credentials, self.clock, events.streams_per_key, events.streams_max)

    def _tell_metrics(self) -> None:
        database, public_url = self.database, self.settings.server.public_base_url
        self.metrics.add(
            *operations_metrics.database_sources(database),
            operations_metrics.line_source(self.lines.snapshots),
            operations_metrics.stuck_source(database, self.radar),
            findings_metrics.source(database),
            *reserves.sources(database, self.clock, self.platform, self.treasury, public_url),
            events_metrics.source(self.feed, lambda: self.streams.count),
        )

    def _register_plans(self) -> None:
        fees = Fees(self.horizon, self.clock, self.settings.stellar.fee_max_stroops)
        chain = Chain(self.database, self.horizon, self.keyring, Bumps(self.database, fees, self.platform))
        own = OwnTransactions(self.horizon, fees)
        contracts = Contracts(
            self.database,
            chain,
            self.trustless_work,
            self.horizon,
            self.clock,
            self.settings.stellar.fee_max_stroops,
            self.settings.trustless_work.deployers,
        )
        self.engine.register(
            [
                *order_steps.plans(contracts, open_found),
                Resolve(contracts),
                PayOut(chain, own),
            ]
        )
        self.engine.register([Provision(chain, own, self.platform)], Priority.LATER)
        if self.airtm is not None:
            self.engine.register(
                [
                    CreateTopUp(self.airtm, self.engine),
                    *airtm_steps.plans(self.airtm),
                ]
            )
            self.engine.register([LinkAirtm(self.airtm)], Priority.LATER)

    def routes(self, probes: dict[str, Probe], queues: Queues) -> tuple[Route, ...]:
        """Every endpoint of the product."""
        on_airtm = self.airtm is not None
        config = PublicConfig(
            airtm=self.airtm is not None, trustless_work=True, sse=True, fiat=self.settings.payments.rail
        )
        served = (
            *operations_api.routes(version=VERSION, probes=probes, config=config, clock=self.clock),
            *operations_api.maintenance_routes(),
            *operations_metrics.metrics_routes(self.metrics),
            *operations_api.stuck_routes(self.radar),
            *operations_api.queue_routes(self.database, queues, NAMES),
            *reconciliation_api.routes(self.reconciliation, self.database, queues),
            *findings_api.routes(),
            *access_api.routes(self.tokens, self.clock, token_seconds=self.settings.keys.token_seconds),
            *audit_api.routes(),
            *events_api.routes(self.database, self.feed),
            *edge_api.routes(),
            *users_api.routes(Users(self.wallets), Linking(self.engine, enabled=self.airtm is not None)),
            *balances_api.routes(self.database, None if on_airtm else self.horizon),
            *wallets_api.routes(self.wallets, self.horizon, self.database),
            *orders_api.routes(self.policies.orders, self.policies.resolution),
            *disputes_api.routes(self.policies.disputes),
            *policies_api.routes(self.policies.now),
            *withdrawals_api.routes(
                Withdrawals(self.engine, self.network, airtm=self.airtm is not None), self.database, self.airtm
            ),
            *topups_api.routes(self.topups),
            *treasury_api.routes(self.treasury),
            *webhooks_api.routes(self.inbox),
            *webhook_endpoints_api.routes(self.webhooks_out.endpoints, self.webhooks_out.listening),
        )
        return (*served, *documentation.routes(served, version=VERSION))

    async def bootstrap(self) -> list[Wallet]:
        """Make what must be there before the first request: the system's own wallets. Safe to repeat.

        Raises WrongWalletKey when the wallets of this database cannot be opened: better now than at a withdrawal.
        """
        await self.keyring.require_keys()
        wallets = await self.database.run(lambda tx: self.wallets.create_system_wallets(tx, DEFAULT_MARKETPLACE_ID))
        for wallet in wallets:
            await self.keyring.require_opens(wallet.public_key)
        return wallets


async def load_signing() -> None:
    """Import what signatures need, in a thread: stellar-sdk takes a second, during which nothing else should stop."""
    await asyncio.to_thread(importlib.import_module, "offerhub.providers.trustless_work.verify")


@contextlib.asynccontextmanager
async def product(settings: Settings) -> AsyncIterator[Product]:
    """Connect to the database and the providers; everything is closed in the end.

    Raises SettingsError when the settings name a queue that is none, and NoTraces.
    """
    check_queues(settings)
    async with parts.traced(settings):
        database = await Database.connect(
            settings.storage.database_url.reveal(), pool_size=settings.storage.database_pool_size
        )
        http = HttpClient()
        client = parts.prompt_redis(settings) if settings.storage.redis_url else None
        made = Product(settings, database, http, client)
        loading = asyncio.create_task(load_signing())
        try:
            async with made.doorbell.at_work():
                yield made
        finally:
            await loading
            await made.engine.stop()
            await http.close()
            await made.webhooks_out.close()
            if client is not None:
                await client.aclose()
            await database.close()


def edge(
    made: Product,
    asked: dict[str, Probe],
    queues: Queues,
    limiter: RateLimiter | None = None,
    user_limits: Mapping[str, RateLimiter] | None = None,
) -> ASGIApp:
    """The edge alone: health asks what is in `asked`, and nothing is limited without limiters."""
    return application.build(
        made.routes(asked, queues),
        database=made.database,
        batches=made.batches,
        authenticate=made.credentials,
        sagas=made.engine,
        limiter=limiter,
        user_limits=user_limits,
        inline_wait_seconds=made.settings.payments.saga_inline_wait_seconds,
        body_seconds_max=made.settings.server.body_seconds,
        version=VERSION,
        vault=made.vault,
        clock=made.clock,
        gate=MaintenanceGate(made.database, made.clock),
        observe=made.metrics.request,
        streams=made.streams,
    )


@contextlib.asynccontextmanager
async def http_application(made: Product) -> AsyncIterator[ASGIApp]:
    """The edge in front of the product: what Uvicorn serves while the block runs."""
    settings = made.settings
    client = parts.prompt_redis(settings)
    server = settings.server
    queues = Queues(settings.storage.redis_url.reveal())
    limiter = None
    if server.rate_limit_max:
        limiter = RateLimiter(client, limit=server.rate_limit_max, window_seconds=server.rate_limit_window_seconds)
    user_limits = {
        name: RateLimiter(client, limit=limit, window_seconds=60)
        for name, limit in server.user_limits_per_minute.items()
    }
    made.metrics.add(operations_metrics.queue_source(queues, NAMES))
    try:
        served = edge(made, probes.probes(made, client, queues), queues, limiter, user_limits)
        async with made.feed.at_work(), made.streams.at_work():
            yield Cors(served, server.allowed_origins) if server.allowed_origins else served
    finally:
        await made.credentials.close()
        await queues.close()
        await client.aclose()
