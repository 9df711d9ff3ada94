"""The endpoints of wallets (contract 2.5). They read the chain, so they run outside a transaction."""

from typing import Annotated, Any

from msgspec import Meta

from offerhub.errors import StellarNetworkError, WalletNotFound, invalid_field
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_chain_amount
from offerhub.kernel.pages import LIMIT_DEFAULT, LIMIT_MAX
from offerhub.providers.stellar.horizon import Horizon
from offerhub.providers.stellar.records import WalletPayment
from offerhub.runtime.database import Database, Row
from offerhub.runtime.routes import Body, Call, Envelope, Route
from offerhub.wallets import deposit_store as store
from offerhub.wallets.model import DepositAddressAnswer, WalletAnswer, WalletTransactionAnswer
from offerhub.wallets.service import Wallets, require, wallet_view


class TransactionsQuery(Body, kw_only=True):
    """`limit` of GET …/wallet/transactions, 1 to 100."""

    limit: Annotated[
        int | None,
        Meta(
            description="How many payments; above 100 counts as 100.", examples=[20], extra_json_schema={"minimum": 1}
        ),
    ] = None


def routes(wallets: Wallets, horizon: Horizon, database: Database) -> tuple[Route, ...]:
    """Declare the endpoints."""

    async def read(call: Call) -> WalletAnswer:
        marketplace_id, user_id = call.actor.marketplace_id, call.path["user_id"]
        wallet = await database.run(lambda tx: require(tx, marketplace_id, user_id), read_only=True)
        return await wallet_view(wallet, horizon)

    async def deposit(call: Call) -> DepositAddressAnswer:
        return wallets.deposit_view(await require(call.tx, call.actor.marketplace_id, call.path["user_id"]))

    async def transactions(call: Call) -> list[WalletTransactionAnswer]:
        marketplace_id, user_id = call.actor.marketplace_id, call.path["user_id"]
        query: TransactionsQuery = call.query
        limit = LIMIT_DEFAULT if query.limit is None else min(query.limit, LIMIT_MAX)
        if limit < 1:
            raise invalid_field("limit", "limit must be at least 1")
        wallet = await database.run(lambda tx: require(tx, marketplace_id, user_id), read_only=True)
        try:
            return [_payment(line) for line in await horizon.account_payments(wallet.public_key, limit)]
        except StellarNetworkError:
            booked = await database.run(
                lambda tx: store.deposits_of(tx, marketplace_id, user_id, limit), read_only=True
            )
            return [_deposit(row, str(horizon.network.usdc)) for row in booked]

    def route(path: str, name: str, summary: str, handler: Any, **more: Any) -> Route:
        return Route(
            "GET",
            f"/users/{{user_id}}/wallet{path}",
            name,
            summary,
            handler,
            "read",
            "wallet",
            Envelope.DATA,
            errors=(WalletNotFound,),
            **more,
        )

    return (
        route(
            "",
            "wallets.get",
            "A user's wallet and what it holds on the chain",
            read,
            unit="none",
            answer=WalletAnswer,
        ),
        route(
            "/deposit",
            "wallets.deposit",
            "Where to send a deposit",
            deposit,
            unit="read",
            answer=DepositAddressAnswer,
        ),
        route(
            "/transactions",
            "wallets.transactions",
            "The wallet's newest payments on the chain",
            transactions,
            unit="none",
            query=TransactionsQuery,
            answer=list[WalletTransactionAnswer],
        ),
    )


def _payment(line: WalletPayment) -> WalletTransactionAnswer:
    return WalletTransactionAnswer(
        id=line.id,
        type=line.type,
        sender=line.from_address,
        to=line.to_address,
        amount=line.amount,
        asset=str(line.asset),
        createdAt=to_wire(line.created_at),
        hash=line.transaction_hash,
        successful=line.successful,
    )


def _deposit(row: Row, asset: str) -> WalletTransactionAnswer:
    return WalletTransactionAnswer(
        id=row["operation_id"],
        type="payment",
        sender=row["sender"],
        to=row["address"],
        amount=format_chain_amount(row["amount"]),
        asset=asset,
        createdAt=to_wire(row["credited_at"]),
        hash=row["transaction_hash"],
        successful=True,
    )
