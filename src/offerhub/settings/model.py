"""What the configuration is: plain values by what they are for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from offerhub.providers.trustless_work.intents import Deployer, EscrowType
from offerhub.settings.variable import Secret

Environment = Literal["development", "staging", "production", "test"]
Rail = Literal["crypto", "airtm"]
StellarNetwork = Literal["testnet", "mainnet"]
DepositSource = Literal["horizon", "rpc"]


@dataclass(frozen=True, slots=True)
class Server:
    """The HTTP service."""

    host: str
    port: int
    metrics_port: int
    """Another port, for metrics and liveness; 0 for none."""
    processes: int
    """How many share `port`."""
    public_base_url: str
    allowed_origins: tuple[str, ...]
    log_level: str
    log_queues: bool
    """Whether every step of a job is logged, whatever the level."""
    sentry_dsn: Secret[str]
    """Where errors are sent; empty for nowhere."""
    head_seconds: float
    """How long a client may take to send the head of a request, and its body."""
    body_seconds: float
    rate_limit_max: int
    rate_limit_window_seconds: int
    user_limits_per_minute: Mapping[str, int]
    """By the name of their variable; what is off is not there."""


@dataclass(frozen=True, slots=True)
class Traces:
    """Where spans are sent, and which."""

    endpoint: str
    headers: Secret[Mapping[str, str]]
    resource: Mapping[str, str]
    """What every span says of the process; what it is called is in `service.name`."""
    sampler: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Jobs:
    """Queues whose pace is not the usual one, by name, and how long a process may take to stop."""

    concurrency: Mapping[str, int]
    limits: Mapping[str, tuple[int, float]]
    """Jobs in so many seconds."""
    shutdown_seconds: float


@dataclass(frozen=True, slots=True)
class Events:
    """Streams of events."""

    poll_seconds: float
    heartbeat_seconds: float
    buffer: int
    streams_per_key: int
    streams_max: int


@dataclass(frozen=True, slots=True)
class Storage:
    """PostgreSQL and Redis. An empty URL asks for an embedded server; never so in production."""

    data_dir: Path
    database_url: Secret[str]
    direct_url: Secret[str]
    database_pool_size: int
    redis_url: Secret[str]


@dataclass(frozen=True, slots=True)
class Keys:
    """Our own secrets, all set: given, or derived from the master key."""

    master_key: Secret[str]
    previous_master_key: Secret[str]
    """Empty, unless the master key is being replaced."""
    token_secret: Secret[bytes]
    token_seconds: int
    wallet_key: Secret[bytes]
    wallet_key_version: int
    previous_wallet_keys: Secret[tuple[tuple[int, bytes], ...]]
    """(version, key) of those that only open what they have sealed; the current one is not among them."""

    @property
    def wallet_keys(self) -> dict[int, bytes]:
        """Every key that opens wallets, by version."""
        return {**dict(self.previous_wallet_keys.reveal()), self.wallet_key_version: self.wallet_key.reveal()}


@dataclass(frozen=True, slots=True)
class Payments:
    """The rail, the platform's share, and how patient a request is."""

    rail: Rail
    platform_user_id: str | None
    platform_fee_basis_points: int
    treasury_floor: int
    """In units of 10^-7."""
    saga_inline_wait_seconds: float
    policy_clock_ahead_seconds: float
    stuck_budget_percent: int


@dataclass(frozen=True, slots=True)
class Providers:
    """What all lines to providers have in common."""

    read_attempts: int
    queue_seconds: float
    breaker_failures: int
    breaker_seconds: float


@dataclass(frozen=True, slots=True)
class Airtm:
    """Airtm, when it is the rail."""

    environment: Literal["sandbox", "production"]
    api_url: str
    checkout_url: str
    timeout_ms: int
    requests_per_second: int
    concurrency: int
    require_id_verified: bool
    api_key: Secret[str]
    api_secret: Secret[str]
    webhook_secret: Secret[str]
    previous_webhook_secret: Secret[str]
    topup_callback_base_url: str
    topup_success_redirect_url: str
    topup_cancel_redirect_url: str


@dataclass(frozen=True, slots=True)
class TrustlessWork:
    """The Trustless Work API. An empty webhook secret means that its webhooks are refused."""

    api_url: str
    api_key: Secret[str]
    webhook_secret: Secret[str]
    previous_webhook_secret: Secret[str]
    timeout_ms: int
    requests_per_minute: int
    concurrency: int
    deployer: Deployer | None
    """Of single-release escrows; None: the one of the first deployment."""
    multi_release_deployer: Deployer | None
    """The same of multi-release escrows."""

    @property
    def deployers(self) -> dict[EscrowType, Deployer]:
        """The deployers that are set, by the type of escrow that they make."""
        chosen: dict[EscrowType, Deployer | None] = {
            "single-release": self.deployer,
            "multi-release": self.multi_release_deployer,
        }
        return {escrow_type: deployer for escrow_type, deployer in chosen.items() if deployer is not None}


@dataclass(frozen=True, slots=True)
class WebhooksOut:
    """What is sent to the endpoints of marketplaces."""

    public_targets_only: bool
    timeout_seconds: float
    disable_after_hours: int
    retention_days: int


@dataclass(frozen=True, slots=True)
class Stellar:
    """The chain, and the watch for deposits."""

    network: StellarNetwork
    passphrase: str
    horizon_url: str
    rpc_url: str | None
    deposit_source: DepositSource
    timeout_ms: int
    concurrency: int
    friendbot_url: str | None
    usdc_asset_code: str
    usdc_issuer: str
    fee_max_stroops: int
    channel_accounts: int
    deposit_poll_seconds: float
    monitor_enabled: bool
    reconciliation_enabled: bool


@dataclass(frozen=True, slots=True)
class Client:
    """What the command line talks to."""

    api_url: str
    api_key: Secret[str]


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, valid as a whole."""

    environment: Environment
    server: Server
    jobs: Jobs
    events: Events
    storage: Storage
    keys: Keys
    payments: Payments
    providers: Providers
    airtm: Airtm | None
    trustless_work: TrustlessWork
    stellar: Stellar
    webhooks_out: WebhooksOut
    client: Client
    traces: Traces | None
    """None where nothing is traced."""

    @property
    def is_production(self) -> bool:
        """Real money: nothing is made up, and errors do not show their insides."""
        return self.environment == "production"

    def with_services(self, database_url: str = "", redis_url: str = "") -> "Settings":
        """The same settings on embedded servers; an empty URL leaves what is set."""
        storage = self.storage
        if database_url:
            storage = replace(storage, database_url=Secret(database_url), direct_url=Secret(database_url))
        if redis_url:
            storage = replace(storage, redis_url=Secret(redis_url))
        return replace(self, storage=storage)
