"""The commands of `offerhub`. Each lives in a module of its own that is loaded when it is called."""

import sys
from typing import NoReturn

from cyclopts import App

from offerhub.kernel.failures import OperatorError

app = App(name="offerhub", help="OFFER-HUB Orchestrator: balances, escrow and payouts for marketplaces.")
migrate = App(name="migrate", help="The database schema: `up` applies what is pending, `status`, `rehearse`.")
app.command(migrate)
users = App(name="users", help="The users of a running service: `list`, `show`.")
app.command(users)
wallets = App(name="wallets", help="The wallets' secrets: `status` shows their keys, `rotate` seals them anew.")
app.command(wallets)
keys = App(name="keys", help="The API keys of a running service: `create`, `list`, `revoke`, `token`.")
app.command(keys)
maintenance = App(name="maintenance", help="Refuse changes at a running service: `enable`, `disable`, `status`.")
app.command(maintenance)
dlq = App(name="dlq", help="Jobs that failed for good, at a running service: `list`, `show`, `retry`, `discard`.")
app.command(dlq)
audit = App(name="audit", help="The audit trail: `verify` walks its chain, `export` copies it.")
app.command(audit)
reconcile = App(name="reconcile", help="Books beside the outside, at a running service: `run`, `findings`, `show`, …")
app.command(reconcile)
events = App(name="events", help="What happens at a running service: `tail` prints it.")
app.command(events)
secrets = App(name="secrets", help="The keys of an installation: `generate` makes new ones.")
app.command(secrets)
config = App(name="config", help="The configuration: `check` this set-up's, `set` and `show` which service is asked.")
app.command(config)

# The modules are imported when they are called, so a listing has only these words to show.
for _name, _where, _help in (
    ("init", "init:init", "Set up an installation: keys, `.env`, database, and the first API key."),
    ("serve", "serve:serve", "Run the service: HTTP API and background jobs."),
    ("worker", "serve:worker", "Run background jobs without the HTTP API."),
    ("bootstrap", "serve:bootstrap", "Make the wallets that the service itself needs, and print them."),
    ("dev", "development:dev", "Run the service together with a sandbox of its providers."),
    ("sandbox", "sandbox.app:sandbox", "Run the stand-ins for Stellar, Trustless Work and Airtm, or control them."),
    ("demo", "demo:demo", "Show a marketplace's money from deposit to withdrawal, with a crash in the middle."),
    ("doctor", "doctor:doctor", "Check a whole set-up, and say of everything that is wrong what to do."),
    ("health", "health:health", "Ask every dependency of a running service; the exit status is the verdict."),
    ("queues", "queues:show_queues", "Show the queues of a running service: jobs, the oldest, workers."),
    ("stuck", "reconcile:stuck", "List what is stuck at a running service: past its time, and not at an end."),
    ("listen", "listen:listen", "Hand every event to a server on this machine, signed, with retries."),
    ("webhooks", "webhooks:webhooks", "Where events are sent, what was sent, and sending it again."),
    ("completion", "completion:completion", "Print the completion script of a shell."),
    ("backup", "backup:backup", "Write the whole database to a file, while the service runs."),
    ("restore", "restore:restore", "Bring a backup into an empty database, and prove it (--verify)."),
    ("prove", "prove:prove_command", "Prove the books, or export them for others to check (--export)."),
):
    app.command(f"offerhub.cli.{_where}", name=_name, help=_help)
migrate.command("offerhub.cli.database:migrate_up", name="up", help="Apply every pending migration.")
migrate.command("offerhub.cli.database:migrate_status", name="status", help="Show the state of each migration.")
migrate.command(
    "offerhub.cli.rehearse:rehearse", name="rehearse", help="Apply what is pending to a clone: locks, times, proof."
)
users.command("offerhub.cli.users:list_users", name="list", help="List users, newest first.")
users.command("offerhub.cli.users:show", name="show", help="Show a user, its balance and its wallet.")
wallets.command("offerhub.cli.wallets:status", name="status", help="Show which versions of the key are in use.")
wallets.command("offerhub.cli.wallets:rotate", name="rotate", help="Seal all wallets anew under the current key.")
keys.command("offerhub.cli.keys:create", name="create", help="Create an API key; it is shown only once.")
keys.command("offerhub.cli.keys:list_keys", name="list", help="List API keys, newest first.")
keys.command("offerhub.cli.keys:revoke", name="revoke", help="Revoke an API key and all its tokens.")
keys.command("offerhub.cli.keys:token", name="token", help="Issue a short-lived token for a key.")
maintenance.command("offerhub.cli.maintenance:enable", name="enable", help="Refuse every change; reading goes on.")
maintenance.command("offerhub.cli.maintenance:disable", name="disable", help="Accept changes again.")
maintenance.command("offerhub.cli.maintenance:status", name="status", help="Say whether changes are accepted.")
dlq.command("offerhub.cli.queues:list_letters", name="list", help="List jobs that failed for good, newest first.")
dlq.command("offerhub.cli.queues:show_letter", name="show", help="Show one with every attempt that failed.")
dlq.command("offerhub.cli.queues:retry", name="retry", help="Let failed jobs run again, with all their attempts.")
dlq.command("offerhub.cli.queues:discard", name="discard", help="Give failed jobs up: they never run again.")
audit.command("offerhub.cli.audit:verify", name="verify", help="Find what was edited, removed, reordered or added.")
audit.command("offerhub.cli.audit:export", name="export", help="Write the sealed trail as lines that chain.")
reconcile.command("offerhub.cli.reconcile:run", name="run", help="Run a reconciliation job now.")
reconcile.command("offerhub.cli.reconcile:runs", name="runs", help="List the latest runs.")
reconcile.command("offerhub.cli.reconcile:findings", name="findings", help="List what differs and is not resolved.")
reconcile.command("offerhub.cli.reconcile:show", name="show", help="Show a finding, and what to do next.")
reconcile.command("offerhub.cli.reconcile:acknowledge", name="acknowledge", help="Say that you look at a finding.")
reconcile.command("offerhub.cli.reconcile:resolve", name="resolve", help="Say that a finding is dealt with.")
events.command("offerhub.cli.events:tail", name="tail", help="Print events as they happen, from any place on.")
secrets.command("offerhub.cli.secrets:generate", name="generate", help="Make new keys, as lines of an env file.")
config.command("offerhub.cli.config:set_config", name="set", help="Keep the URL and the key of a service.")
config.command("offerhub.cli.doctor:check_configuration", name="check", help="Check variables, URLs, keys and files.")
config.command("offerhub.cli.config:show", name="show", help="Show which service the commands ask.")


def main() -> None:
    """Run the command line; a fault of the configuration or of a server is told in its own words."""
    try:
        app(sys.argv[1:])
    except OperatorError as error:
        _fail(str(error))
    except Exception as error:
        # What fails without a server is half the program, and most commands do without it.
        from offerhub.runtime.database import UNREACHABLE

        if not isinstance(error, UNREACHABLE):
            raise
        _fail(f"a server cannot be used: {error or type(error).__name__}")


def _fail(text: str) -> NoReturn:
    from rich.console import Console

    console = Console(stderr=True)
    console.print("[red]offerhub:[/red] ", end="")
    console.print(text, markup=False, highlight=False)
    sys.exit(2)
