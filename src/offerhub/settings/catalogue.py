"""Every environment variable: name, kind, default, one sentence. The reference page is made from this list."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from offerhub.providers.trustless_work.intents import Deployer
from offerhub.runtime.database import POOL_SIZE_DEFAULT
from offerhub.runtime.embedded import DATA_DIR_DEFAULT
from offerhub.settings.traces import ATTRIBUTES, HEADERS, RATIO
from offerhub.settings.variable import (
    AMOUNT,
    BASIS_POINTS,
    BOOLEAN,
    DEPLOYER,
    DURATION,
    FOLDER,
    HEX_KEY,
    HEX_KEYS,
    HTTPS_URL,
    KEY_VERSION_MAX,
    ORIGINS,
    RATE,
    STELLAR_ACCOUNT,
    TEXT,
    WEBHOOK_SECRET,
    Secret,
    Variable,
    choice,
    integer,
    pattern,
    per_name,
    seconds,
    secret,
    secret_url,
    url,
    words,
)

_UNSET: Final[Secret[str]] = Secret("")
_WEB: Final = url("http", "https")
_POSTGRESQL: Final = secret_url("PostgreSQL", "postgresql", "postgres", host_needed=False)
_EMBEDDED: Final = "required in production, else an embedded server"
_IN_PRODUCTION: Final = "required in production"
_FOR_AIRTM: Final = "required for the rail `airtm`"
_DERIVED: Final = "derived from `OFFERHUB_MASTER_KEY`"

NODE_ENV: Final = Variable(
    "NODE_ENV",
    "Service",
    words("development", "staging", "production", "test"),
    "development",
    "What kind of installation this is; production insists on servers and keys of its own.",
)
HOST: Final = Variable(
    "HOST",
    "Service",
    pattern(r"[0-9A-Za-z.:-]{1,253}", "an address or a host name"),
    "",
    "The address that the HTTP service listens on.",
    "`127.0.0.1` in development and test, else `0.0.0.0`",
)
PORT: Final = Variable("PORT", "Service", integer(1, 65535), 4000, "The port that the HTTP service listens on.")
METRICS_PORT: Final = Variable(
    "METRICS_PORT",
    "Service",
    integer(0, 65535),
    0,
    "Another port for `/metrics` and `/health`, which ask for no key there: keep it inside. 0: none. "
    "Each of `WEB_CONCURRENCY` processes has its own, counted up from this one.",
)
WEB_CONCURRENCY: Final = Variable(
    "WEB_CONCURRENCY",
    "Service",
    integer(1, 64),
    1,
    "How many processes `offerhub serve` is, all behind `PORT`: one for each core. The first one runs the jobs.",
)
PUBLIC_BASE_URL: Final = Variable(
    "PUBLIC_BASE_URL",
    "Service",
    _WEB,
    "",
    "Where the world reaches this service; providers call back there.",
    "`http://localhost:<PORT>`",
)
ALLOWED_ORIGINS: Final[Variable[tuple[str, ...]]] = Variable(
    "ALLOWED_ORIGINS",
    "Service",
    ORIGINS,
    (),
    "The web origins whose pages may call the API.",
    "none",
    aliases=("CORS_ORIGIN",),
)
LOG_LEVEL: Final = Variable(
    "LOG_LEVEL",
    "Service",
    choice({"debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error"}),
    "info",
    "The least important log line that is written.",
    "`info`; `debug` when `DEBUG` names anything but `bullmq`",
)
DEBUG: Final = Variable(
    "DEBUG",
    "Service",
    TEXT,
    "",
    "`bullmq:*` writes every step of a job to the log; anything else is debug logging while `LOG_LEVEL` is unset.",
    "none",
)
SENTRY_DSN: Final = Variable(
    "SENTRY_DSN",
    "Service",
    secret(),
    _UNSET,
    "Sends what is logged as an error to this project at Sentry, masked as the log is. Needs the extra `sentry`.",
    "none",
)
OTEL_EXPORTER_OTLP_ENDPOINT: Final = Variable(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "Traces",
    _WEB,
    "",
    "Sends traces to this collector, by OTLP over HTTP (`/v1/traces` is added). Needs the extra `otel`.",
    "none",
)
OTEL_EXPORTER_OTLP_HEADERS: Final[Variable[Secret[Mapping[str, str]]]] = Variable(
    "OTEL_EXPORTER_OTLP_HEADERS",
    "Traces",
    HEADERS,
    Secret({}),
    "Headers for the collector, such as the key it asks for.",
    "none",
)
OTEL_EXPORTER_OTLP_PROTOCOL: Final = Variable(
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "Traces",
    words("http/protobuf"),
    "http/protobuf",
    "The only protocol there is here. Collectors take it at port 4318, and gRPC at 4317.",
)
OTEL_SERVICE_NAME: Final = Variable(
    "OTEL_SERVICE_NAME",
    "Traces",
    TEXT,
    "offerhub",
    "What the process is called in traces.",
)
OTEL_RESOURCE_ATTRIBUTES: Final[Variable[Mapping[str, str]]] = Variable(
    "OTEL_RESOURCE_ATTRIBUTES",
    "Traces",
    ATTRIBUTES,
    {},
    "What else every trace says of the process.",
    "`deployment.environment.name=<NODE_ENV>`",
)
OTEL_TRACES_SAMPLER: Final = Variable(
    "OTEL_TRACES_SAMPLER",
    "Traces",
    words(
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ),
    "parentbased_always_on",
    "Which traces are sent. A parent-based one does as whoever sent a `traceparent` has decided.",
)
OTEL_TRACES_SAMPLER_ARG: Final = Variable(
    "OTEL_TRACES_SAMPLER_ARG",
    "Traces",
    RATIO,
    1.0,
    "The share of traces that a `traceidratio` sampler sends.",
    "`1`",
)
OTEL_SDK_DISABLED: Final = Variable(
    "OTEL_SDK_DISABLED", "Traces", BOOLEAN, False, "Switches traces off, whatever else is set.", "`false`"
)
SHUTDOWN_SECONDS: Final = Variable(
    "SHUTDOWN_SECONDS",
    "Service",
    seconds(0, 600),
    20.0,
    "How long open requests and running jobs may take to end when the process is told to stop.",
    "`20`",
)
REQUEST_HEAD_SECONDS: Final = Variable(
    "REQUEST_HEAD_SECONDS",
    "Service",
    seconds(0.1, 300),
    15.0,
    "How long a client may take to send the request line and the headers of a request.",
    "`15`",
)
REQUEST_BODY_SECONDS: Final = Variable(
    "REQUEST_BODY_SECONDS",
    "Service",
    seconds(0.1, 300),
    30.0,
    "How long a client may take to send the body of a request.",
    "`30`",
)
RATE_LIMIT_MAX: Final = Variable(
    "RATE_LIMIT_MAX",
    "Service",
    integer(0, 1_000_000),
    100,
    "Requests that one API key, or one address without a key, may make in a window; 0 is no limit.",
)
RATE_LIMIT_WINDOW_SECONDS: Final = Variable(
    "RATE_LIMIT_WINDOW_SECONDS", "Service", integer(1, 3600), 60, "The length of that window."
)
TOPUP_LIMIT_PER_MINUTE: Final = Variable(
    "TOPUP_LIMIT_PER_MINUTE",
    "Service",
    integer(0, 1_000_000),
    10,
    "Top-ups that may be begun for one user in a minute; 0 is no limit, as is 0 for `RATE_LIMIT_MAX`.",
)
WITHDRAWAL_LIMIT_PER_MINUTE: Final = Variable(
    "WITHDRAWAL_LIMIT_PER_MINUTE",
    "Service",
    integer(0, 1_000_000),
    5,
    "Withdrawals that may be begun for one user in a minute; 0 is no limit, as is 0 for `RATE_LIMIT_MAX`.",
)
EVENTS_POLL_SECONDS: Final = Variable(
    "EVENTS_POLL_SECONDS",
    "Service",
    seconds(0.01, 60),
    1.0,
    "How often the log of events is read for open streams when Redis does not tell of news.",
    "`1`",
)
EVENTS_HEARTBEAT_SECONDS: Final = Variable(
    "EVENTS_HEARTBEAT_SECONDS",
    "Service",
    seconds(0.05, 300),
    30.0,
    "How often an open event stream shows that it lives; less than what a proxy in between takes for idle.",
    "`30`",
)
EVENTS_BUFFER: Final = Variable(
    "EVENTS_BUFFER",
    "Service",
    integer(100, 1_000_000),
    5_000,
    "How many events may wait for the client of a stream before the stream is ended.",
)
EVENTS_STREAMS_PER_CREDENTIAL: Final = Variable(
    "EVENTS_STREAMS_PER_CREDENTIAL",
    "Service",
    integer(1, 1_000_000),
    1_000,
    "Event streams that one key may have open at one process.",
)
EVENTS_STREAMS_MAX: Final = Variable(
    "EVENTS_STREAMS_MAX",
    "Service",
    integer(1, 1_000_000),
    5_000,
    "Event streams that may be open at one process; each takes one of the process's open files.",
)
OFFERHUB_DATA_DIR: Final = Variable(
    "OFFERHUB_DATA_DIR",
    "Storage",
    FOLDER,
    DATA_DIR_DEFAULT,
    "Where the embedded servers and the development key live, outside production.",
)
DATABASE_URL: Final = Variable(
    "DATABASE_URL",
    "Storage",
    _POSTGRESQL,
    _UNSET,
    "The PostgreSQL 15+ database; parameters that only Prisma knows are dropped.",
    _EMBEDDED,
)
DIRECT_URL: Final = Variable(
    "DIRECT_URL",
    "Storage",
    _POSTGRESQL,
    _UNSET,
    "The same database without a pooler in between, for migrations.",
    "`DATABASE_URL`",
)
DATABASE_POOL_SIZE: Final = Variable(
    "DATABASE_POOL_SIZE", "Storage", integer(2, 200), POOL_SIZE_DEFAULT, "Connections that one process opens at most."
)
REDIS_URL: Final = Variable(
    "REDIS_URL",
    "Storage",
    secret_url("Redis", "redis", "rediss"),
    _UNSET,
    "The Redis 7+ or Valkey server; user, password, database number and TLS are kept.",
    _EMBEDDED,
)
OFFERHUB_MASTER_KEY: Final = Variable(
    "OFFERHUB_MASTER_KEY",
    "Keys",
    secret("text, at least 32 characters in production"),
    _UNSET,
    "Creates the first API keys; other keys are derived from it while they are unset.",
    "required; made and kept in the data folder outside production",
)
OFFERHUB_MASTER_KEY_PREVIOUS: Final = Variable(
    "OFFERHUB_MASTER_KEY_PREVIOUS",
    "Keys",
    secret("text, at least 32 characters in production"),
    _UNSET,
    "Accepted beside the master key while that is being replaced; the keys derived from it must be set by then.",
    "none",
)
OFFERHUB_JWT_SECRET: Final = Variable(
    "OFFERHUB_JWT_SECRET",
    "Keys",
    secret("text, at least 32 bytes", 32),
    _UNSET,
    "Signs short-lived tokens.",
    _DERIVED,
    aliases=("JWT_SECRET",),
)
JWT_EXPIRES_IN: Final = Variable(
    "JWT_EXPIRES_IN",
    "Keys",
    DURATION,
    3_600,
    "How long a token is valid unless it is asked for with a span of its own.",
    "`1h`",
)
WALLET_ENCRYPTION_KEY: Final = Variable(
    "WALLET_ENCRYPTION_KEY", "Keys", HEX_KEY, Secret(b""), "Encrypts the secret keys of custodial wallets.", _DERIVED
)
OFFERHUB_WALLET_KEY_VERSION: Final = Variable(
    "OFFERHUB_WALLET_KEY_VERSION",
    "Keys",
    integer(1, KEY_VERSION_MAX),
    1,
    "The version number stored beside what `WALLET_ENCRYPTION_KEY` encrypts.",
)
WALLET_ENCRYPTION_KEYS_PREVIOUS: Final[Variable[Secret[tuple[tuple[int, bytes], ...]]]] = Variable(
    "WALLET_ENCRYPTION_KEYS_PREVIOUS",
    "Keys",
    HEX_KEYS,
    Secret(()),
    "Wallet keys that only decrypt, while wallets change over to another (`offerhub wallets rotate`).",
    "none",
)
PAYMENT_PROVIDER: Final = Variable(
    "PAYMENT_PROVIDER",
    "Payments",
    words("crypto", "airtm"),
    "",
    "The rail for deposits and payouts.",
    "`airtm` when its credentials are set, else `crypto`",
)
PLATFORM_USER_ID: Final = Variable(
    "PLATFORM_USER_ID",
    "Payments",
    pattern(r"usr_[0-9A-Za-z_-]{1,64}", "a user id such as usr_…"),
    "",
    "The user whose wallet signs escrows for the platform; needed by escrows only.",
    "none",
)
PLATFORM_FEE_PERCENT: Final = Variable(
    "PLATFORM_FEE_PERCENT",
    "Payments",
    BASIS_POINTS,
    0,
    "The platform's share of every release, with at most two decimals.",
    "`0.00`",
)
TREASURY_FLOOR: Final = Variable(
    "TREASURY_FLOOR",
    "Payments",
    AMOUNT,
    0,
    "For the rail `airtm`: the treasury counts as low when its account holds less USDC than this.",
    "`0.00`",
)
SAGA_INLINE_WAIT_SECONDS: Final = Variable(
    "SAGA_INLINE_WAIT_SECONDS",
    "Payments",
    seconds(0, 25),
    20.0,
    "How long a request waits for the outside world before it answers with the state reached.",
    "`20`",
)
QUEUE_CONCURRENCY: Final[Variable[Mapping[str, int]]] = Variable(
    "QUEUE_CONCURRENCY",
    "Queues",
    per_name(integer(1, 1000), "sagas=64,webhooks=16"),
    {},
    "How many jobs of a queue one process runs at a time.",
    "by [queue](jobs.md)",
)
QUEUE_RATE_LIMITS: Final[Variable[Mapping[str, tuple[int, float]]]] = Variable(
    "QUEUE_RATE_LIMITS",
    "Queues",
    per_name(RATE, "webhooks=100/60"),
    {},
    "How many jobs of a queue all processes together begin in so many seconds.",
    "no limits",
)
STUCK_BUDGET_PERCENT: Final = Variable(
    "STUCK_BUDGET_PERCENT",
    "Payments",
    integer(1, 10_000),
    100,
    "How long something may stay in a state before `offerhub stuck` lists it, in percent of what is usual.",
)
POLICY_CLOCK_AHEAD_SECONDS: Final = Variable(
    "POLICY_CLOCK_AHEAD_SECONDS",
    "Payments",
    seconds(0, 31_536_000),
    0.0,
    "How far the clock of policies runs ahead, to try them out. Refused in production.",
    "`0`",
)
PROVIDER_READ_ATTEMPTS: Final = Variable(
    "PROVIDER_READ_ATTEMPTS",
    "Providers",
    integer(1, 10),
    3,
    "How often a read that fails in passing is attempted within its time-out; nothing else is ever repeated.",
)
PROVIDER_QUEUE_SECONDS: Final = Variable(
    "PROVIDER_QUEUE_SECONDS",
    "Providers",
    seconds(0, 120),
    30.0,
    "How long a call of a saga waits to be sent, for a place and for the budget; others wait 5 s at most.",
    "`30`",
)
PROVIDER_BREAKER_FAILURES: Final = Variable(
    "PROVIDER_BREAKER_FAILURES",
    "Providers",
    integer(1, 10_000),
    10,
    "After so many failures in a row (no connection, no answer, 5xx) a process leaves a provider alone for a while.",
)
PROVIDER_BREAKER_SECONDS: Final = Variable(
    "PROVIDER_BREAKER_SECONDS",
    "Providers",
    seconds(0.05, 600),
    15.0,
    "How long that is; then one call tries.",
    "`15`",
)
AIRTM_ENV: Final = Variable(
    "AIRTM_ENV",
    "Airtm",
    choice({"sandbox": "sandbox", "production": "production", "prod": "production"}),
    "sandbox",
    "Which Airtm is spoken to.",
)
AIRTM_API_KEY: Final = Variable(
    "AIRTM_API_KEY", "Airtm", secret(), _UNSET, "The name that Airtm knows us by.", _FOR_AIRTM
)
AIRTM_API_SECRET: Final = Variable(
    "AIRTM_API_SECRET", "Airtm", secret(), _UNSET, "The password that goes with it.", _FOR_AIRTM
)
AIRTM_WEBHOOK_SECRET: Final = Variable(
    "AIRTM_WEBHOOK_SECRET",
    "Airtm",
    WEBHOOK_SECRET,
    _UNSET,
    "Verifies the signatures of Airtm's webhooks.",
    _FOR_AIRTM,
)
AIRTM_WEBHOOK_SECRET_PREVIOUS: Final = Variable(
    "AIRTM_WEBHOOK_SECRET_PREVIOUS",
    "Airtm",
    WEBHOOK_SECRET,
    _UNSET,
    "Accepted beside the other while that is being replaced.",
    "none",
)
AIRTM_API_URL: Final = Variable(
    "AIRTM_API_URL",
    "Airtm",
    _WEB,
    "",
    "Where Airtm's Enterprise API (V2) is.",
    "by `AIRTM_ENV`: `https://api.enterprise.airtm.com/v2`, or `https://api.stg.enterprise.airtm.com/v2`",
)
AIRTM_CHECKOUT_URL: Final = Variable(
    "AIRTM_CHECKOUT_URL",
    "Airtm",
    _WEB,
    "",
    "Users confirm a top-up at `<this>/<payin id>`.",
    "by `AIRTM_ENV`: `https://app.airtm.com/payin`, or `https://app.stg.airtm.com/payin`",
)
AIRTM_TIMEOUT_MS: Final = Variable(
    "AIRTM_TIMEOUT_MS", "Airtm", integer(1000, 120_000), 30_000, "How long one call to Airtm may take."
)
AIRTM_REQUESTS_PER_SECOND: Final = Variable(
    "AIRTM_REQUESTS_PER_SECOND",
    "Airtm",
    integer(0, 1000),
    10,
    "How many requests are sent to Airtm in a second at most, shared by all processes; 0 is no limit.",
)
AIRTM_CONCURRENCY: Final = Variable(
    "AIRTM_CONCURRENCY", "Airtm", integer(1, 1000), 20, "How many calls to Airtm one process has open at a time."
)
AIRTM_REQUIRE_ID_VERIFIED: Final = Variable(
    "AIRTM_REQUIRE_ID_VERIFIED",
    "Airtm",
    BOOLEAN,
    False,
    "Whether Airtm is told to pay identified users only (`requireIdVerified`). It has to be enabled for the account "
    "there; the service refuses others by itself, when a withdrawal begins.",
)
TOPUP_CALLBACK_BASE_URL: Final = Variable(
    "TOPUP_CALLBACK_BASE_URL",
    "Airtm",
    _WEB,
    "",
    "Airtm is told to call `<this>/<top-up id>/callback`.",
    "`<PUBLIC_BASE_URL>/api/v1/topups`, or `http://localhost:3000/topups`",
)
TOPUP_SUCCESS_REDIRECT_URL: Final = Variable(
    "TOPUP_SUCCESS_REDIRECT_URL",
    "Airtm",
    _WEB,
    "http://localhost:3001/topups/success",
    "Where a browser goes after a top-up was paid.",
)
TOPUP_CANCEL_REDIRECT_URL: Final = Variable(
    "TOPUP_CANCEL_REDIRECT_URL",
    "Airtm",
    _WEB,
    "http://localhost:3001/topups/canceled",
    "Where a browser goes after a top-up was given up.",
)
TRUSTLESS_API_KEY: Final = Variable(
    "TRUSTLESS_API_KEY", "Trustless Work", secret(), _UNSET, "The key of the Trustless Work API.", _IN_PRODUCTION
)
TRUSTLESS_API_URL: Final = Variable(
    "TRUSTLESS_API_URL",
    "Trustless Work",
    HTTPS_URL,
    "",
    "The Trustless Work API.",
    "`https://dev.api.trustlesswork.com`, on mainnet `https://api.trustlesswork.com`",
)
TRUSTLESS_WEBHOOK_SECRET: Final = Variable(
    "TRUSTLESS_WEBHOOK_SECRET",
    "Trustless Work",
    secret(),
    _UNSET,
    "Verifies webhooks of Trustless Work; without it they are refused.",
    _IN_PRODUCTION,
)
TRUSTLESS_WEBHOOK_SECRET_PREVIOUS: Final = Variable(
    "TRUSTLESS_WEBHOOK_SECRET_PREVIOUS",
    "Trustless Work",
    secret(),
    _UNSET,
    "Accepted beside the other while that is being replaced.",
    "none",
)
TRUSTLESS_DEPLOYER: Final[Variable[Deployer | None]] = Variable(
    "TRUSTLESS_DEPLOYER",
    "Trustless Work",
    DEPLOYER,
    None,
    "The only contract that may make our single-release escrows, and the hash of the only code that it may deploy.",
    "those of the first deployment, kept in the database",
)
TRUSTLESS_MULTI_RELEASE_DEPLOYER: Final[Variable[Deployer | None]] = Variable(
    "TRUSTLESS_MULTI_RELEASE_DEPLOYER",
    "Trustless Work",
    DEPLOYER,
    None,
    "The same for multi-release escrows, which are another contract.",
    "those of the first deployment, kept in the database",
)
TRUSTLESS_TIMEOUT_MS: Final = Variable(
    "TRUSTLESS_TIMEOUT_MS",
    "Trustless Work",
    integer(1000, 120_000),
    60_000,
    "How long, in milliseconds, one call of the API may take.",
)
TRUSTLESS_REQUESTS_PER_MINUTE: Final = Variable(
    "TRUSTLESS_REQUESTS_PER_MINUTE",
    "Trustless Work",
    integer(0, 10_000),
    50,
    "Requests that are sent to the API in any 60 seconds at most, shared by all processes; 0 sets no limit.",
)
TRUSTLESS_CONCURRENCY: Final = Variable(
    "TRUSTLESS_CONCURRENCY",
    "Trustless Work",
    integer(1, 1000),
    20,
    "How many calls of the API one process has open at a time.",
)
STELLAR_NETWORK: Final = Variable(
    "STELLAR_NETWORK",
    "Stellar",
    words("testnet", "mainnet"),
    "testnet",
    "The Stellar network; mainnet moves real money.",
)
STELLAR_NETWORK_PASSPHRASE: Final = Variable(
    "STELLAR_NETWORK_PASSPHRASE",
    "Stellar",
    pattern(r"[ -~]{1,200}", "printable ASCII"),
    "",
    "The passphrase of a network of one's own, such as the sandbox; never on mainnet.",
    "the network's",
)
STELLAR_HORIZON_URL: Final = Variable(
    "STELLAR_HORIZON_URL",
    "Stellar",
    HTTPS_URL,
    "",
    "The Horizon server.",
    "`https://horizon-testnet.stellar.org`, on mainnet `https://horizon.stellar.org`",
)
STELLAR_RPC_URL: Final = Variable(
    "STELLAR_RPC_URL",
    "Stellar",
    HTTPS_URL,
    "",
    "A Stellar RPC server that is run with `EMIT_CLASSIC_EVENTS`: a second way to read deposits.",
    "none",
)
STELLAR_DEPOSIT_SOURCE: Final = Variable(
    "STELLAR_DEPOSIT_SOURCE",
    "Stellar",
    words("horizon", "rpc"),
    "horizon",
    "Through which of the two deposits are read and booked; it may be changed at any time.",
)
STELLAR_TIMEOUT_MS: Final = Variable(
    "STELLAR_TIMEOUT_MS",
    "Stellar",
    integer(1000, 120_000),
    10_000,
    "How long, in milliseconds, one read of Horizon or RPC may take; a submission may take 45 s.",
)
STELLAR_CONCURRENCY: Final = Variable(
    "STELLAR_CONCURRENCY",
    "Stellar",
    integer(1, 1000),
    64,
    "How many calls to Horizon, and to RPC, one process has open at a time.",
)
STELLAR_FRIENDBOT_URL: Final = Variable(
    "STELLAR_FRIENDBOT_URL",
    "Stellar",
    HTTPS_URL,
    "",
    "Who funds new accounts with test XLM; never on mainnet.",
    "`https://friendbot.stellar.org` on testnet, else none",
)
STELLAR_USDC_ASSET_CODE: Final = Variable(
    "STELLAR_USDC_ASSET_CODE",
    "Stellar",
    pattern(r"[0-9A-Za-z]{1,12}", "1 to 12 letters or digits"),
    "USDC",
    "The code of the asset that the books count.",
)
STELLAR_USDC_ISSUER: Final = Variable(
    "STELLAR_USDC_ISSUER",
    "Stellar",
    STELLAR_ACCOUNT,
    "",
    "The issuer of that asset; the testnet issuer is refused on mainnet.",
    "Circle's issuer on that network",
)
STELLAR_FEE_MAX_STROOPS: Final = Variable(
    "STELLAR_FEE_MAX_STROOPS",
    "Stellar",
    integer(100, 1_000_000_000),
    10_000_000,
    "The largest fee, in stroops (10^-7 XLM), of an envelope that we sign.",
    "`10000000` (1 XLM)",
)
STELLAR_CHANNEL_ACCOUNTS: Final = Variable(
    "STELLAR_CHANNEL_ACCOUNTS",
    "Stellar",
    integer(0, 100),
    4,
    "Accounts through which the platform's account makes several transactions in one ledger.",
)
DEPOSIT_POLL_SECONDS: Final = Variable(
    "DEPOSIT_POLL_SECONDS", "Stellar", seconds(0.05, 60), 1.0, "How often the chain is asked for new deposits.", "`1`"
)
DISABLE_BLOCKCHAIN_MONITOR: Final = Variable(
    "DISABLE_BLOCKCHAIN_MONITOR",
    "Stellar",
    BOOLEAN,
    False,
    "`true` keeps this process from watching the chain for deposits.",
    "`false`",
)
RECONCILIATION_ENABLED: Final = Variable(
    "RECONCILIATION_ENABLED",
    "Stellar",
    BOOLEAN,
    True,
    "`false` switches off the search for deposits that were missed.",
    "`true`",
)
WEBHOOK_TARGETS: Final = Variable(
    "WEBHOOK_TARGETS",
    "Webhooks out",
    words("public", "any", "any-in-production"),
    "",
    "Where webhook endpoints may be: `public` is https on the public Internet; the others let webhooks into the "
    "service's own network, and in production only `any-in-production` does.",
    "`any` in development and test, else `public`",
)
WEBHOOK_TIMEOUT_SECONDS: Final = Variable(
    "WEBHOOK_TIMEOUT_SECONDS",
    "Webhooks out",
    seconds(0.1, 30),
    15.0,
    "How long one delivery may take, from the connection to the last byte of the answer.",
    "`15`",
)
WEBHOOK_DISABLE_AFTER_HOURS: Final = Variable(
    "WEBHOOK_DISABLE_AFTER_HOURS",
    "Webhooks out",
    integer(1, 720),
    72,
    "An endpoint at which every attempt has failed for so long is disabled.",
)
WEBHOOK_RETENTION_DAYS: Final = Variable(
    "WEBHOOK_RETENTION_DAYS",
    "Webhooks out",
    integer(1, 365),
    30,
    "How long deliveries that have ended are kept, with their requests and answers.",
)
OFFERHUB_API_URL: Final = Variable(
    "OFFERHUB_API_URL",
    "Command line",
    _WEB,
    "",
    "The service that the command line talks to.",
    "`http://localhost:<PORT>`",
)
OFFERHUB_API_KEY: Final = Variable(
    "OFFERHUB_API_KEY", "Command line", secret(), _UNSET, "The API key that the command line uses.", "none"
)

ALL: Final[tuple[Variable[Any], ...]] = tuple(one for one in list(globals().values()) if isinstance(one, Variable))
"""In the order of this page."""


@dataclass(frozen=True, slots=True)
class VariableDoc:
    """What people need to know about a variable."""

    name: str
    aliases: tuple[str, ...]
    group: str
    kind: str
    default: str
    purpose: str
    secret: bool


def describe() -> list[VariableDoc]:
    """All variables, in the order of the reference page."""
    return [
        VariableDoc(
            one.name,
            one.aliases,
            one.group,
            one.kind.text,
            one.shown_default or f"`{one.default}`",
            one.purpose,
            one.is_secret,
        )
        for one in ALL
    ]


def render_reference() -> str:
    """The page docs/reference/configuration.md."""
    lines = [
        "# Configuration",
        "",
        "<!-- Made by `make docs` from src/offerhub/settings/catalogue.py; edit that instead. -->",
        "",
        "Everything is set by environment variables. The commands also read a file `.env` in the working directory;",
        "a variable of the real environment wins. An empty value counts as unset. When something is wrong, the",
        "program does not start and names every fault at once. Values marked *secret* are never printed, and may be",
        "in files instead: `<NAME>_FILE` holds the path, such as `OFFERHUB_MASTER_KEY_FILE=/run/secrets/master_key`.",
    ]
    for group in dict.fromkeys(one.group for one in describe()):
        lines += ["", f"## {group}", "", "| Variable | Type | Default | Meaning |", "|---|---|---|---|"]
        for one in describe():
            if one.group == group:
                also = f"<br>also `{'`, `'.join(one.aliases)}`" if one.aliases else ""
                kind = f"{one.kind}, *secret*" if one.secret else one.kind
                lines.append(f"| `{one.name}`{also} | {kind} | {one.default} | {one.purpose} |")
    return "\n".join(lines) + "\n"
