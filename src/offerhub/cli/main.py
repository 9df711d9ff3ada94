"""The commands of `offerhub`. Each lives in a module of its own that is loaded when it is called."""

import sys

from cyclopts import App
from rich.console import Console

from offerhub.runtime.embedded import EmbeddedServicesError
from offerhub.runtime.migrations import MigrationError
from offerhub.settings import SettingsError

app = App(name="offerhub", help="OFFER-HUB Orchestrator: balances, escrow and payouts for marketplaces.")
migrate = App(name="migrate", help="The database schema: `up` applies what is pending, `status` shows it.")
app.command(migrate)

# The modules are imported when they are called, so a listing has only these words to show.
for _name, _where, _help in (
    ("serve", "serve:serve", "Run the service: HTTP API and background jobs."),
    ("worker", "serve:worker", "Run background jobs without the HTTP API."),
    ("bootstrap", "serve:bootstrap", "Make the wallets that the service itself needs, and print them."),
    ("dev", "development:dev", "Run the service together with a sandbox of its providers."),
    ("sandbox", "development:sandbox", "Run the stand-ins for Stellar and Trustless Work on their own."),
    ("demo", "demo:demo", "Show a marketplace's money from deposit to withdrawal, with a crash in the middle."),
    ("prove", "database:prove_command", "Derive every balance again and hold every state against the books."),
):
    app.command(f"offerhub.cli.{_where}", name=_name, help=_help)
migrate.command("offerhub.cli.database:migrate_up", name="up", help="Apply every pending migration.")
migrate.command("offerhub.cli.database:migrate_status", name="status", help="Show the state of each migration.")


def main() -> None:
    """Run the command line; a fault of the configuration or of a server is told in its own words."""
    try:
        app()
    except (SettingsError, EmbeddedServicesError, MigrationError) as error:
        Console(stderr=True).print(f"[red]offerhub:[/red] {error}", highlight=False)
        sys.exit(2)
