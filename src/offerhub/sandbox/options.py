"""What a sandbox is started with, and the accounts and contracts that follow from its seed."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from stellar_sdk import Asset, Keypair, StrKey

from offerhub.sandbox.clock import ClockMode
from offerhub.sandbox.rules import FeeMode

STANDALONE_PASSPHRASE: Final = "Standalone Network ; February 2017"
USDC_CODE: Final = "USDC"
MINIONS: Final = 32
"""Channel accounts of the sandbox itself, so that many are funded or minted to in one ledger."""


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How a sandbox runs.

    `ledger_seconds` is the time between ledgers; 0 means that only `POST /_sim/close` closes one.
    `build_lifetime_seconds` bounds the envelopes of the Trustless Work face; None leaves the bounds out.
    `submission_timeout_seconds` is how long Horizon waits for inclusion before it answers 504.
    `trustless_rate_limited` switches the real limit of 50 requests in 60 s on, `airtm_rate_limited` 10 in 1 s.
    `airtm_settle_seconds` is how long Airtm takes for what a user confirmed or the enterprise committed; 0 means that
    only the controls under `/_sim/airtm` settle anything.
    `airtm_cancel_pending_days` is how long a payout may wait for its recipient.
    `clock` None goes on as the state file says, or in real time; `clock_factor` is how much faster a scaled one is;
    `start_at` is the moment at which a new sandbox begins, in Unix seconds (None: now).
    `fee_mode` is the arithmetic of dispute resolutions (sandbox.rules).
    `index_lag_seconds` is how far the lists of the Trustless Work face are behind the chain.
    `webhook_urls` get the webhooks of the Airtm face.
    `rpc_retention_ledgers` is how many ledgers the RPC face remembers; real nodes by default a week.
    `connect` switches Airtm's Connect on; `connect_redirect_uris` are where its client may send browsers back to
    (none: as the state file says).
    """

    host: str = "127.0.0.1"
    port: int = 0
    ledger_seconds: float = 1.0
    network_passphrase: str = STANDALONE_PASSPHRASE
    seed: int = 1
    state_file: Path | None = None
    trustless_api_key: str = "sandbox-trustless-key"
    trustless_rate_limited: bool = False
    airtm_api_key: str = "sandbox-airtm-key"
    airtm_api_secret: str = "sandbox-airtm-secret"
    airtm_rate_limited: bool = False
    airtm_settle_seconds: float = 2.0
    airtm_cancel_pending_days: int = 90
    build_lifetime_seconds: int | None = 180
    submission_timeout_seconds: float = 30.0
    clock: ClockMode | None = None
    clock_factor: float = 1.0
    start_at: float | None = None
    fee_mode: FeeMode = "floor_total"
    index_lag_seconds: float = 0.0
    webhook_urls: tuple[str, ...] = ()
    rpc_retention_ledgers: int = 120_960
    connect: bool = False
    connect_client_id: str = "sandbox-connect-client"
    connect_client_secret: str = "sandbox-connect-secret"
    connect_redirect_uris: tuple[str, ...] = ()


class Cast:
    """The accounts and contracts that every sandbox with this seed and passphrase has."""

    def __init__(self, seed: int, network_passphrase: str) -> None:
        self.seed = seed
        self.network_passphrase = network_passphrase
        self.network_id = hashlib.sha256(network_passphrase.encode()).digest()

    def keypair(self, name: str) -> Keypair:
        """A key pair that is always the same for the same seed and name."""
        return Keypair.from_raw_ed25519_seed(self.digest(f"key:{name}"))

    def digest(self, name: str) -> bytes:
        """32 bytes that are always the same for the same seed and name."""
        return hashlib.sha256(f"offerhub-sandbox:{self.seed}:{name}".encode()).digest()

    @cached_property
    def airtm_webhook_secret(self) -> str:
        """What signs the webhooks of the Airtm face."""
        return "whsec_" + base64.b64encode(self.digest("airtm-webhook")[:24]).decode()

    @cached_property
    def root(self) -> Keypair:
        """Holder of every XLM at genesis; its seed is the network id, as on a real standalone network."""
        return Keypair.from_raw_ed25519_seed(self.network_id)

    @cached_property
    def friendbot(self) -> Keypair:
        """Gives away XLM."""
        return self.keypair("friendbot")

    @cached_property
    def issuer(self) -> Keypair:
        """Issues the sandbox's USDC."""
        return self.keypair("usdc-issuer")

    @cached_property
    def trustless_fee(self) -> Keypair:
        """Receives Trustless Work's fee."""
        return self.keypair("trustless-work-fee")

    @cached_property
    def minions(self) -> list[Keypair]:
        """The channel accounts."""
        return [self.keypair(f"minion:{number}") for number in range(MINIONS)]

    @cached_property
    def usdc(self) -> Asset:
        """The sandbox's USDC."""
        return Asset(USDC_CODE, self.issuer.public_key)

    @cached_property
    def usdc_contract(self) -> str:
        """The token contract of that USDC (C…)."""
        return self.usdc.contract_id(self.network_passphrase)

    @cached_property
    def native_contract(self) -> str:
        """The token contract of XLM (C…)."""
        return Asset.native().contract_id(self.network_passphrase)

    @cached_property
    def payer_contract(self) -> str:
        """The contract whose `pay_many` makes several transfers in one call (C…)."""
        return StrKey.encode_contract(self.digest("payer-contract"))

    @cached_property
    def factory(self) -> str:
        """The contract whose `deploy` makes a single-release escrow (C…)."""
        return StrKey.encode_contract(self.digest("escrow-factory"))

    @cached_property
    def multi_factory(self) -> str:
        """The contract whose `deploy` makes a multi-release escrow (C…)."""
        return StrKey.encode_contract(self.digest("multi-release-escrow-factory"))
