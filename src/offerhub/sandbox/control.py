"""The control face under `/_sim`: what a test or a demo may do to the world behind the wires (providers.md 8.2)."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from stellar_sdk import Keypair, StrKey

from offerhub.kernel.money import format_chain_amount
from offerhub.sandbox.chain import Chain
from offerhub.sandbox.chain_faults import ChainFaults
from offerhub.sandbox.control_bodies import (
    AccountsBody,
    AdvanceBody,
    ClockBody,
    CreditBody,
    Endpoint,
    MintBody,
    PayBody,
    Refusal,
    address_of,
    guarded,
    memo_of,
    read,
    units_of,
)
from offerhub.sandbox.fault_kinds import KINDS
from offerhub.sandbox.faults import FaultRequest, Faults
from offerhub.sandbox.flows import Flows
from offerhub.sandbox.history import TransactionRecord
from offerhub.sandbox.house import House
from offerhub.sandbox.ledger_timer import LedgerTimer
from offerhub.sandbox.multi_encoding import Part
from offerhub.sandbox.state import NATIVE

T = TypeVar("T")


class ControlFace:
    """The sandbox's own controls."""

    def __init__(
        self, chain: Chain, house: House, faults: Faults, timer: LedgerTimer, base_url: str, more: dict[str, Any]
    ) -> None:
        self._chain = chain
        self._house = house
        self._faults = faults
        self._timer = timer
        self._chain_faults = ChainFaults(chain, timer)
        self._base_url = base_url
        self._more = more
        self._moved = Flows(chain.history, self._usdc)

    def routes(self) -> list[Route]:
        """Every route of this face, without its prefix."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/info", self._info),
            ("GET", "/state", self._state),
            ("GET", "/flows", self._flows),
            ("POST", "/mint", self._mint),
            ("POST", "/account", self._account),
            ("POST", "/accounts", self._accounts),
            ("POST", "/pay", self._pay),
            ("POST", "/credit", self._credit),
            ("GET", "/waiting", self._waiting),
            ("POST", "/close", self._close),
            ("POST", "/advance", self._advance),
            ("POST", "/clock", self._clock),
            ("GET", "/faults", self._list_faults),
            ("POST", "/faults", self._add_fault),
            ("DELETE", "/faults", self._clear_faults),
            ("GET", "/faults/kinds", self._fault_kinds),
            ("DELETE", "/faults/{id:int}", self._remove_fault),
        ]
        return [Route(path, guarded(endpoint), methods=[method]) for method, path, endpoint in table]

    async def _info(self, request: Request) -> Response:
        cast, options = self._chain.cast, self._chain.options
        return JSONResponse(
            {
                "network_passphrase": options.network_passphrase,
                "horizon_url": f"{self._base_url}/horizon",
                "friendbot_url": f"{self._base_url}/horizon/friendbot",
                "rpc_url": f"{self._base_url}/rpc",
                "trustless_work_url": f"{self._base_url}/trustless-work",
                "trustless_api_key": options.trustless_api_key,
                "trustless_work_fee_account": cast.trustless_fee.public_key,
                "factory_contract": cast.factory,
                "multi_release_factory_contract": cast.multi_factory,
                "airtm_url": f"{self._base_url}/airtm/v2",
                "airtm_checkout_url": f"{self._base_url}/airtm-web/payin",
                "airtm_api_key": options.airtm_api_key,
                "airtm_api_secret": options.airtm_api_secret,
                "airtm_webhook_secret": cast.airtm_webhook_secret,
                "usdc": {
                    "code": cast.usdc.code,
                    "issuer": cast.usdc.issuer,
                    "contract": cast.usdc_contract,
                },
                "latest_ledger": self._chain.latest.sequence,
                "seed": options.seed,
                **self._more,
                **self._clock_shown(),
            }
        )

    async def _flows(self, request: Request) -> Response:
        return JSONResponse({"usdc": self._moved.told(set(request.query_params.getlist("address")))})

    async def _state(self, request: Request) -> Response:
        """All accounts and contracts, or those with one of the addresses asked for: a long run has very many."""
        state, usdc = self._chain.state, self._usdc
        asked = request.query_params.getlist("address")
        accounts = [
            {
                "address": account.id,
                "xlm": format_chain_amount(account.balance),
                "usdc": format_chain_amount(state.trustlines[account.id, usdc].balance)
                if (account.id, usdc) in state.trustlines
                else None,
                "usdc_authorized": (account.id, usdc) in state.trustlines
                and state.trustlines[account.id, usdc].authorized,
                "sequence": str(account.sequence),
            }
            for account in _chosen(state.accounts, asked).values()
        ]
        contracts = [
            {
                "address": contract,
                "engagement_id": escrow.engagement_id,
                "amount": format_chain_amount(escrow.amount),
                "usdc": format_chain_amount(state.balance_of(usdc, contract)),
                "archived": contract in state.archived,
                "approved": [milestone.approved for milestone in escrow.milestones],
                "disputed": escrow.disputed,
                "released": escrow.released,
                "resolved": escrow.resolved,
                "milestones": [_part_shown(part) for part in escrow.milestones if isinstance(part, Part)],
            }
            for contract, escrow in _chosen(state.escrows, asked).items()
        ]
        return JSONResponse(
            {
                "latest_ledger": self._chain.latest.sequence,
                "now": self._chain.now(),
                "accounts": accounts,
                "contracts": contracts,
                "usdc_issued": format_chain_amount(state.issued.get(usdc, 0)),
                "xlm_fee_pool": format_chain_amount(state.fee_pool),
                "xlm_in_contracts": format_chain_amount(
                    sum(units for (_, asset), units in state.contract_balances.items() if asset == NATIVE)
                ),
            }
        )

    @property
    def _usdc(self) -> str:
        return f"{self._chain.cast.usdc.code}:{self._chain.cast.usdc.issuer}"

    async def _mint(self, request: Request) -> Response:
        body = await read(request, MintBody)
        record = await self._house.mint(address_of(body.address), units_of(body.amount), memo_of(body))
        return JSONResponse(_included(record))

    async def _account(self, request: Request) -> Response:
        keypair = await self._house.open_outside_wallet()
        return JSONResponse({"public_key": keypair.public_key, "secret": keypair.secret})

    async def _accounts(self, request: Request) -> Response:
        body = await read(request, AccountsBody)
        addresses = [address_of(address) for address in body.addresses]
        if any(address.startswith("M") for address in addresses):
            raise Refusal("an M… address is not an account's")
        sponsor = self._chain.cast.friendbot.public_key
        self._chain.change("accounts", {"addresses": addresses, "sponsor": sponsor})
        return JSONResponse({"accounts": len(addresses)})

    async def _pay(self, request: Request) -> Response:
        body = await read(request, PayBody)
        if not StrKey.is_valid_ed25519_secret_seed(body.secret):
            raise Refusal("secret is not a secret key")
        payer, target = Keypair.from_secret(body.secret), address_of(body.destination, contract=True)
        record = await self._house.pay(payer, target, units_of(body.amount), memo_of(body))
        return JSONResponse(_included(record))

    async def _credit(self, request: Request) -> Response:
        body = await read(request, CreditBody)
        targets = [address_of(target) for target in body.to]
        record = await self._house.credit(body.shape, targets, units_of(body.amount), memo_of(body), body.muxed_id)
        return JSONResponse(_included(record))

    async def _waiting(self, request: Request) -> Response:
        return JSONResponse({"transactions": self._chain.waiting()})

    async def _close(self, request: Request) -> Response:
        ledger = self._chain.close()
        return JSONResponse({"ledger": ledger.sequence, "closed_at": ledger.closed_at})

    async def _clock(self, request: Request) -> Response:
        body = await read(request, ClockBody)
        if body.mode is not None:
            self._chain.set_clock(body.mode, body.factor)
        if body.advance_seconds:
            self._chain.clock.advance(body.advance_seconds)
            self._chain.keep_clock()
        if body.ledger_seconds is not None:
            self._timer.set_interval(body.ledger_seconds)
        return JSONResponse(self._clock_shown())

    async def _advance(self, request: Request) -> Response:
        body = await read(request, AdvanceBody)
        done = await self._timer.advance(body.seconds)
        return JSONResponse({**self._clock_shown(), "done": done, "latest_ledger": self._chain.latest.sequence})

    def _clock_shown(self) -> dict[str, Any]:
        clock = self._chain.clock
        return {
            "mode": clock.mode,
            "factor": clock.factor,
            "now": self._chain.now(),
            "ledger_seconds": self._chain.ledger_seconds,
        }

    async def _list_faults(self, request: Request) -> Response:
        return JSONResponse({"faults": self._faults.shown()})

    async def _fault_kinds(self, request: Request) -> Response:
        kinds = [{"kind": name, "faces": kind.faces, "words": kind.words} for name, kind in KINDS.items()]
        return JSONResponse({"kinds": kinds})

    async def _add_fault(self, request: Request) -> Response:
        fault = self._faults.add(await read(request, FaultRequest))
        if fault.sort.stage == "chain":
            try:
                self._chain_faults.strike(fault)
            except Exception:
                self._faults.remove(fault.id)
                raise
        return JSONResponse(fault.shown())

    async def _remove_fault(self, request: Request) -> Response:
        removed = self._faults.remove(request.path_params["id"])
        if removed is None:
            raise Refusal("there is no such fault")
        self._chain_faults.end(removed)
        return JSONResponse(removed.shown())

    async def _clear_faults(self, request: Request) -> Response:
        for fault in self._faults.clear():
            self._chain_faults.end(fault)
        return JSONResponse({"faults": []})


def _part_shown(part: Part) -> dict[str, Any]:
    """A milestone that pays by itself; those of single-release escrows have nothing of their own to show."""
    flags = {name: getattr(part, name) for name in ("approved", "disputed", "released", "resolved")}
    return {"amount": format_chain_amount(part.amount), "receiver": part.receiver, **flags}


def _included(record: TransactionRecord) -> dict[str, Any]:
    return {"hash": record.envelope.hash, "ledger": record.ledger}


def _chosen(all_of_them: Mapping[str, T], addresses: Sequence[str]) -> Mapping[str, T]:
    if not addresses:
        return all_of_them
    return {address: all_of_them[address] for address in addresses if address in all_of_them}
