"""From the environment to `Settings`: defaults that depend on one another, rules across variables, derived keys."""

from collections.abc import Mapping
from typing import Any, Final, Literal, cast
from urllib.parse import parse_qsl, quote, urlencode

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from offerhub.providers.stellar.network import PUBLIC_PASSPHRASE, TESTNET_PASSPHRASE
from offerhub.settings import catalogue as the
from offerhub.settings.model import (
    Airtm,
    Client,
    Environment,
    Events,
    Jobs,
    Keys,
    Payments,
    Providers,
    Rail,
    Server,
    Settings,
    Stellar,
    StellarNetwork,
    Storage,
    Traces,
    TrustlessWork,
    WebhooksOut,
)
from offerhub.settings.production import refused
from offerhub.settings.variable import Reader, Secret, SettingsError, Variable

DERIVED_KEY_BYTES: Final = 32

USDC_ISSUER_TESTNET: Final = "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5"
USDC_ISSUER_MAINNET: Final = "GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN"
"""Circle's accounts (providers.md 6.1)."""

PRISMA_PARAMETERS: Final = frozenset(
    {"schema", "pgbouncer", "connection_limit", "pool_timeout", "connect_timeout", "socket_timeout", "sslaccept"}
)
"""Parameters of the existing product's URLs; PostgreSQL would refuse the connection over them."""


def load(environ: Mapping[str, str]) -> Settings:
    """Read the whole configuration. Raises SettingsError with every fault at once."""
    reader = Reader(environ)
    environment = cast("Environment", reader.get(the.NODE_ENV))
    production = environment == "production"
    server = _server(reader, environment)
    rail = _rail(reader)
    stellar = _stellar(reader)
    settings = Settings(
        environment=environment,
        server=server,
        jobs=Jobs(
            concurrency=reader.get(the.QUEUE_CONCURRENCY),
            limits=reader.get(the.QUEUE_RATE_LIMITS),
            shutdown_seconds=reader.get(the.SHUTDOWN_SECONDS),
        ),
        events=Events(
            poll_seconds=reader.get(the.EVENTS_POLL_SECONDS),
            heartbeat_seconds=reader.get(the.EVENTS_HEARTBEAT_SECONDS),
            buffer=reader.get(the.EVENTS_BUFFER),
            streams_per_key=reader.get(the.EVENTS_STREAMS_PER_CREDENTIAL),
            streams_max=reader.get(the.EVENTS_STREAMS_MAX),
        ),
        storage=_storage(reader, production),
        keys=_keys(reader),
        payments=Payments(
            rail=rail,
            platform_user_id=reader.get(the.PLATFORM_USER_ID) or None,
            platform_fee_basis_points=reader.get(the.PLATFORM_FEE_PERCENT),
            treasury_floor=reader.get(the.TREASURY_FLOOR),
            saga_inline_wait_seconds=reader.get(the.SAGA_INLINE_WAIT_SECONDS),
            policy_clock_ahead_seconds=_policy_clock(reader, production),
            stuck_budget_percent=reader.get(the.STUCK_BUDGET_PERCENT),
        ),
        providers=Providers(
            read_attempts=reader.get(the.PROVIDER_READ_ATTEMPTS),
            queue_seconds=reader.get(the.PROVIDER_QUEUE_SECONDS),
            breaker_failures=reader.get(the.PROVIDER_BREAKER_FAILURES),
            breaker_seconds=reader.get(the.PROVIDER_BREAKER_SECONDS),
        ),
        airtm=_airtm(reader, server) if rail == "airtm" else None,
        trustless_work=_trustless_work(reader, production, stellar.network),
        stellar=stellar,
        webhooks_out=_webhooks_out(reader, environment),
        client=Client(
            reader.get(the.OFFERHUB_API_URL, f"http://localhost:{server.port}"), reader.get(the.OFFERHUB_API_KEY)
        ),
        traces=_traces(reader, environment),
    )
    if production:
        reader.faults += refused(reader)
    if reader.faults:
        raise SettingsError(reader.faults)
    return settings


def derive_key(master_key: str, purpose: str) -> bytes:
    """32 bytes for one purpose: HKDF-SHA-256 of the master key, without salt. Never change what this returns.

    The purposes in use are `wallet-encryption` and `token-signing`.
    """
    info = f"offerhub/v1/{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=DERIVED_KEY_BYTES, salt=None, info=info).derive(master_key.encode())


def _server(reader: Reader, environment: Environment) -> Server:
    host = "127.0.0.1" if environment in ("development", "test") else "0.0.0.0"  # noqa: S104 - a server in a container listens on all of them
    port = reader.get(the.PORT)
    rate_limit_max = reader.get(the.RATE_LIMIT_MAX)
    # As the npm package of this name reads it: patterns between commas or spaces.
    debugged = reader.get(the.DEBUG).replace(",", " ").split()
    queues = [pattern for pattern in debugged if pattern.startswith("bullmq")]
    own = {one.name: reader.get(one) for one in (the.TOPUP_LIMIT_PER_MINUTE, the.WITHDRAWAL_LIMIT_PER_MINUTE)}
    return Server(
        host=reader.get(the.HOST, host),
        port=port,
        metrics_port=reader.get(the.METRICS_PORT),
        processes=reader.get(the.WEB_CONCURRENCY),
        public_base_url=reader.get(the.PUBLIC_BASE_URL, f"http://localhost:{port}"),
        allowed_origins=reader.get(the.ALLOWED_ORIGINS),
        log_level=reader.get(the.LOG_LEVEL, "debug" if len(debugged) > len(queues) else "info"),
        log_queues=bool(queues) or "*" in debugged,
        sentry_dsn=reader.get(the.SENTRY_DSN),
        head_seconds=reader.get(the.REQUEST_HEAD_SECONDS),
        body_seconds=reader.get(the.REQUEST_BODY_SECONDS),
        rate_limit_max=rate_limit_max,
        rate_limit_window_seconds=reader.get(the.RATE_LIMIT_WINDOW_SECONDS),
        user_limits_per_minute={name: limit for name, limit in own.items() if limit and rate_limit_max},
    )


def _traces(reader: Reader, environment: Environment) -> Traces | None:
    endpoint, disabled = reader.get(the.OTEL_EXPORTER_OTLP_ENDPOINT), reader.get(the.OTEL_SDK_DISABLED)
    reader.get(the.OTEL_EXPORTER_OTLP_PROTOCOL)
    given = reader.get(the.OTEL_RESOURCE_ATTRIBUTES)
    name = reader.get(the.OTEL_SERVICE_NAME, given.get("service.name", the.OTEL_SERVICE_NAME.default))
    traces = Traces(
        endpoint=endpoint,
        headers=reader.get(the.OTEL_EXPORTER_OTLP_HEADERS),
        resource={"deployment.environment.name": environment, **given, "service.name": name},
        sampler=reader.get(the.OTEL_TRACES_SAMPLER),
        ratio=reader.get(the.OTEL_TRACES_SAMPLER_ARG),
    )
    return traces if endpoint and not disabled else None


def _webhooks_out(reader: Reader, environment: Environment) -> WebhooksOut:
    """Into our own network only where nothing is at stake, or where somebody says outright that this is meant."""
    targets = reader.get(the.WEBHOOK_TARGETS, "any" if environment in ("development", "test") else "public")
    if targets == "any" and environment == "production":
        reader.faults.append(
            f"{the.WEBHOOK_TARGETS.name} must not be any in production: whoever may make a webhook endpoint could "
            "reach into this service's own network. Set any-in-production if that is meant."
        )
    return WebhooksOut(
        public_targets_only=targets == "public",
        timeout_seconds=reader.get(the.WEBHOOK_TIMEOUT_SECONDS),
        disable_after_hours=reader.get(the.WEBHOOK_DISABLE_AFTER_HOURS),
        retention_days=reader.get(the.WEBHOOK_RETENTION_DAYS),
    )


def _storage(reader: Reader, production: bool) -> Storage:
    reason = "in production (embedded servers are for development only)"
    database_url = _expected(reader, the.DATABASE_URL, production, reason)
    direct_url = reader.get(the.DIRECT_URL) or database_url
    return Storage(
        data_dir=reader.get(the.OFFERHUB_DATA_DIR),
        database_url=Secret(_without_prisma(database_url.reveal())),
        direct_url=Secret(_without_prisma(direct_url.reveal())),
        database_pool_size=reader.get(the.DATABASE_POOL_SIZE),
        redis_url=_expected(reader, the.REDIS_URL, production, reason),
    )


def _without_prisma(url: str) -> str:
    """A PostgreSQL URL without what only Prisma understands; a schema of one's own stays the search path."""
    base, _, query = url.partition("?")
    given = parse_qsl(query, keep_blank_values=True)
    kept = [(name, value) for name, value in given if name not in PRISMA_PARAMETERS]
    kept += [("search_path", value) for name, value in given if name == "schema" and value != "public"]
    return f"{base}?{urlencode(kept, quote_via=quote)}" if kept else base


def _policy_clock(reader: Reader, production: bool) -> float:
    ahead = reader.get(the.POLICY_CLOCK_AHEAD_SECONDS)
    if production and ahead:
        name = the.POLICY_CLOCK_AHEAD_SECONDS.name
        reader.faults.append(f"{name} must not be set in production: money would move before its time.")
    return ahead


def _keys(reader: Reader) -> Keys:
    master_key = reader.require(the.OFFERHUB_MASTER_KEY, "(openssl rand -base64 32)")
    previous = reader.get(the.OFFERHUB_MASTER_KEY_PREVIOUS)
    if previous:
        _check_overlap(reader, master_key, previous)
    text = master_key.reveal()
    token_secret = reader.get(the.OFFERHUB_JWT_SECRET).reveal().encode()
    wallet_key = reader.get(the.WALLET_ENCRYPTION_KEY) or Secret(derive_key(text, "wallet-encryption"))
    return Keys(
        master_key=master_key,
        previous_master_key=previous,
        token_secret=Secret(token_secret or derive_key(text, "token-signing")),
        token_seconds=reader.get(the.JWT_EXPIRES_IN),
        wallet_key=wallet_key,
        wallet_key_version=reader.get(the.OFFERHUB_WALLET_KEY_VERSION),
        previous_wallet_keys=_previous_wallet_keys(reader, wallet_key),
    )


def _previous_wallet_keys(reader: Reader, current: Secret[bytes]) -> Secret[tuple[tuple[int, bytes], ...]]:
    """The keys beside the current one, which must differ from it in version and in key."""
    previous = reader.get(the.WALLET_ENCRYPTION_KEYS_PREVIOUS)
    name, version = the.WALLET_ENCRYPTION_KEYS_PREVIOUS.name, reader.get(the.OFFERHUB_WALLET_KEY_VERSION)
    for number, key in previous.reveal():
        if number == version:
            reader.faults.append(
                f"{name} must not contain version {number}: "
                f"it is the current one ({the.OFFERHUB_WALLET_KEY_VERSION.name})."
            )
        elif key == current.reveal():
            reader.faults.append(f"{name} must not contain the current key (it does, as version {number}).")
    return previous


def _check_overlap(reader: Reader, master_key: Secret[str], previous: Secret[str]) -> None:
    """While the master key is replaced nothing may be derived from it: the wallets would not open any more."""
    name = the.OFFERHUB_MASTER_KEY_PREVIOUS.name
    if previous == master_key:
        reader.faults.append(f"{name} must differ from {the.OFFERHUB_MASTER_KEY.name}.")
    derived: tuple[Variable[Any], ...] = (the.WALLET_ENCRYPTION_KEY, the.OFFERHUB_JWT_SECRET)
    reader.faults += [
        f"{one.name} must be set before {name} is: it would change with the master key (docs/operating/secrets.md)."
        for one in derived
        if not reader.raw(one)
    ]


def _rail(reader: Reader) -> Rail:
    """The chosen rail; else Airtm when its credentials are there, else the chain."""
    chosen = reader.get(the.PAYMENT_PROVIDER)
    if chosen:
        return cast("Rail", chosen)
    key, secret = reader.raw(the.AIRTM_API_KEY), reader.raw(the.AIRTM_API_SECRET)
    if bool(key) != bool(secret):
        missing, present = (
            (the.AIRTM_API_KEY, the.AIRTM_API_SECRET) if secret else (the.AIRTM_API_SECRET, the.AIRTM_API_KEY)
        )
        reader.faults.append(f"{missing.name} must be set beside {present.name}, or PAYMENT_PROVIDER to crypto.")
    return "airtm" if key and secret else "crypto"


def _airtm(reader: Reader, server: Server) -> Airtm:
    reason = "for the rail airtm"
    callback = "http://localhost:3000/topups"
    if reader.raw(the.PUBLIC_BASE_URL):
        callback = f"{server.public_base_url}/api/v1/topups"
    environment = cast("Literal['sandbox', 'production']", reader.get(the.AIRTM_ENV))
    stage = "" if environment == "production" else "stg."  # providers.md 2.1
    return Airtm(
        environment=environment,
        api_url=reader.get(the.AIRTM_API_URL, f"https://api.{stage}enterprise.airtm.com/v2"),
        checkout_url=reader.get(the.AIRTM_CHECKOUT_URL, f"https://app.{stage}airtm.com/payin"),
        timeout_ms=reader.get(the.AIRTM_TIMEOUT_MS),
        requests_per_second=reader.get(the.AIRTM_REQUESTS_PER_SECOND),
        concurrency=reader.get(the.AIRTM_CONCURRENCY),
        require_id_verified=reader.get(the.AIRTM_REQUIRE_ID_VERIFIED),
        api_key=reader.require(the.AIRTM_API_KEY, reason),
        api_secret=reader.require(the.AIRTM_API_SECRET, reason),
        webhook_secret=reader.require(the.AIRTM_WEBHOOK_SECRET, f"{reason}: unsigned webhooks could credit money"),
        previous_webhook_secret=reader.get(the.AIRTM_WEBHOOK_SECRET_PREVIOUS),
        topup_callback_base_url=reader.get(the.TOPUP_CALLBACK_BASE_URL, callback),
        topup_success_redirect_url=reader.get(the.TOPUP_SUCCESS_REDIRECT_URL),
        topup_cancel_redirect_url=reader.get(the.TOPUP_CANCEL_REDIRECT_URL),
    )


def _trustless_work(reader: Reader, production: bool, network: StellarNetwork) -> TrustlessWork:
    host = "api" if network == "mainnet" else "dev.api"  # providers.md 4.1
    return TrustlessWork(
        api_url=reader.get(the.TRUSTLESS_API_URL, f"https://{host}.trustlesswork.com"),
        api_key=_expected(reader, the.TRUSTLESS_API_KEY, production, "in production"),
        webhook_secret=_expected(reader, the.TRUSTLESS_WEBHOOK_SECRET, production, "in production"),
        previous_webhook_secret=reader.get(the.TRUSTLESS_WEBHOOK_SECRET_PREVIOUS),
        timeout_ms=reader.get(the.TRUSTLESS_TIMEOUT_MS),
        requests_per_minute=reader.get(the.TRUSTLESS_REQUESTS_PER_MINUTE),
        concurrency=reader.get(the.TRUSTLESS_CONCURRENCY),
        deployer=reader.get(the.TRUSTLESS_DEPLOYER),
        multi_release_deployer=reader.get(the.TRUSTLESS_MULTI_RELEASE_DEPLOYER),
    )


def _stellar(reader: Reader) -> Stellar:
    network = cast("StellarNetwork", reader.get(the.STELLAR_NETWORK))
    mainnet = network == "mainnet"
    issuer = reader.get(the.STELLAR_USDC_ISSUER, USDC_ISSUER_MAINNET if mainnet else USDC_ISSUER_TESTNET)
    passphrase = reader.get(the.STELLAR_NETWORK_PASSPHRASE, PUBLIC_PASSPHRASE if mainnet else TESTNET_PASSPHRASE)
    if mainnet and issuer == USDC_ISSUER_TESTNET:
        reader.faults.append("STELLAR_USDC_ISSUER must not be the testnet issuer on mainnet.")
    if (passphrase == PUBLIC_PASSPHRASE) != mainnet:
        reader.faults.append("STELLAR_NETWORK_PASSPHRASE must not contradict STELLAR_NETWORK.")
    if mainnet and reader.raw(the.STELLAR_FRIENDBOT_URL):
        reader.faults.append("STELLAR_FRIENDBOT_URL must be unset on mainnet, where nobody hands out XLM.")
    friendbot = reader.get(the.STELLAR_FRIENDBOT_URL, "" if mainnet else "https://friendbot.stellar.org")
    rpc_url, source = reader.get(the.STELLAR_RPC_URL), reader.get(the.STELLAR_DEPOSIT_SOURCE)
    if source == "rpc" and not rpc_url:
        reader.faults.append("STELLAR_RPC_URL must be set while STELLAR_DEPOSIT_SOURCE is rpc.")
    horizon = "https://horizon.stellar.org" if mainnet else "https://horizon-testnet.stellar.org"
    return Stellar(
        network=network,
        passphrase=passphrase,
        horizon_url=reader.get(the.STELLAR_HORIZON_URL, horizon),
        rpc_url=rpc_url or None,
        deposit_source="rpc" if source == "rpc" else "horizon",
        timeout_ms=reader.get(the.STELLAR_TIMEOUT_MS),
        concurrency=reader.get(the.STELLAR_CONCURRENCY),
        friendbot_url=friendbot or None,
        usdc_asset_code=reader.get(the.STELLAR_USDC_ASSET_CODE),
        usdc_issuer=issuer,
        fee_max_stroops=reader.get(the.STELLAR_FEE_MAX_STROOPS),
        channel_accounts=reader.get(the.STELLAR_CHANNEL_ACCOUNTS),
        deposit_poll_seconds=reader.get(the.DEPOSIT_POLL_SECONDS),
        monitor_enabled=not reader.get(the.DISABLE_BLOCKCHAIN_MONITOR),
        reconciliation_enabled=reader.get(the.RECONCILIATION_ENABLED),
    )


def _expected(reader: Reader, variable: Variable[Secret[str]], required: bool, reason: str) -> Secret[str]:
    return reader.require(variable, reason) if required else reader.get(variable)
