"""The commands of `offerhub sandbox`, put together."""

from cyclopts import App

from offerhub.cli.sandbox import airtm, money
from offerhub.cli.sandbox.connect import connect
from offerhub.cli.sandbox.faults import fault
from offerhub.cli.sandbox.run import sandbox as run_sandbox
from offerhub.cli.sandbox.webhooks import webhooks

sandbox = App(
    name="sandbox",
    help="Run the stand-ins for Stellar, Trustless Work and Airtm, or control those that run (--url says where).",
)
sandbox.default(run_sandbox)
for _command in (
    money.info,
    money.state,
    money.account,
    money.mint,
    money.pay,
    money.credit,
    money.clock,
    money.advance,
    money.close,
    airtm.payin,
    airtm.payout,
    airtm.balance,
):
    sandbox.command(_command)
sandbox.command(fault)
sandbox.command(webhooks)
sandbox.command(connect)
