"""The commands of `offerhub`. Each lives in a module of its own that is loaded when it is called."""

import sys

from cyclopts import App
from rich.console import Console

from offerhub.runtime.embedded import EmbeddedServicesError
from offerhub.runtime.migrations import MigrationError
from offerhub.settings import SettingsError

app = App(name="offerhub", help="OFFER-HUB Orchestrator: balances, escrow and payouts for marketplaces.")
app.command("offerhub.cli.serve:serve", name="serve")
app.command("offerhub.cli.serve:worker", name="worker")
app.command("offerhub.cli.serve:bootstrap", name="bootstrap")
app.command("offerhub.cli.development:dev", name="dev")
app.command("offerhub.cli.development:sandbox", name="sandbox")
app.command("offerhub.cli.demo:demo", name="demo")
app.command("offerhub.cli.database:prove_command", name="prove")

migrate = App(name="migrate", help="The database schema.")
migrate.command("offerhub.cli.database:migrate_up", name="up")
migrate.command("offerhub.cli.database:migrate_status", name="status")
app.command(migrate)


def main() -> None:
    """Run the command line; a fault of the configuration or of a server is told in its own words."""
    try:
        app()
    except (SettingsError, EmbeddedServicesError, MigrationError) as error:
        Console(stderr=True).print(f"[red]offerhub:[/red] {error}", highlight=False)
        sys.exit(2)
