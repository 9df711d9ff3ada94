"""`python -m offerhub.sandbox`: the sandbox on its own."""

import argparse
from pathlib import Path

from offerhub.sandbox.clock import MODES
from offerhub.sandbox.options import SandboxOptions
from offerhub.sandbox.server import main


def _options() -> SandboxOptions:
    defaults = SandboxOptions()
    parser = argparse.ArgumentParser(prog="python -m offerhub.sandbox", description=__doc__)
    parser.add_argument("--host", default=defaults.host)
    parser.add_argument("--port", type=int, default=defaults.port, help="0 picks a free one")
    parser.add_argument(
        "--ledger-seconds", type=float, default=defaults.ledger_seconds, help="0 closes on demand only"
    )
    parser.add_argument("--network-passphrase", default=defaults.network_passphrase)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--state-file", type=Path, default=None)
    parser.add_argument("--trustless-api-key", default=defaults.trustless_api_key)
    parser.add_argument("--trustless-rate-limited", action="store_true")
    parser.add_argument("--airtm-rate-limited", action="store_true")
    parser.add_argument(
        "--airtm-settle-seconds", type=float, default=defaults.airtm_settle_seconds, help="0 settles on demand only"
    )
    parser.add_argument("--webhook-url", dest="webhook_urls", action="append", default=[])
    parser.add_argument("--rpc-retention-ledgers", type=int, default=defaults.rpc_retention_ledgers)
    parser.add_argument("--connect", action="store_true", help="have Airtm's Connect as well")
    parser.add_argument("--connect-redirect-uri", dest="connect_redirect_uris", action="append", default=[])
    parser.add_argument("--clock", choices=MODES, default=None)
    parser.add_argument("--clock-factor", type=float, default=defaults.clock_factor)
    given = vars(parser.parse_args())
    lists = {name: tuple(given[name]) for name in ("webhook_urls", "connect_redirect_uris")}
    return SandboxOptions(**given | lists)


if __name__ == "__main__":
    main(_options())
