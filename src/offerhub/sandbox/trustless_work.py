"""The Trustless Work face: the unversioned v1 routes for both types of escrow (providers.md 4.3, 8.4)."""

import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from offerhub.kernel.clock import Clock
from offerhub.sandbox.chain import Chain, Malformed, Rejected, SubmissionTimeout
from offerhub.sandbox.faulty_wire import fault_in
from offerhub.sandbox.history import TransactionRecord
from offerhub.sandbox.horizon_submit import submit
from offerhub.sandbox.results import result_codes
from offerhub.sandbox.trustless_bodies import (
    ApproveBody,
    BadBody,
    DeployBody,
    DisputeBody,
    DisputeMilestoneBody,
    FundBody,
    MultiDeployBody,
    ReleaseBody,
    ReleaseMilestoneBody,
    ResolveBody,
    ResolveMilestoneBody,
    SendBody,
    StatusBody,
    UpdateBody,
    WithdrawBody,
    read_body,
)
from offerhub.sandbox.trustless_build import Builder, BuildRefused, CallBody, EscrowType
from offerhub.sandbox.trustless_index import EscrowIndex, number

REQUESTS_MAX: Final = 50
WINDOW_SECONDS: Final = 60.0
BALANCE_ADDRESSES_MAX: Final = 20

_BUILDS: Final[Sequence[tuple[EscrowType, str, type[CallBody]]]] = (
    ("single-release", "/deployer/{type}", DeployBody),
    ("single-release", "/escrow/{type}/fund-escrow", FundBody),
    ("single-release", "/escrow/{type}/change-milestone-status", StatusBody),
    ("single-release", "/escrow/{type}/approve-milestone", ApproveBody),
    ("single-release", "/escrow/{type}/release-funds", ReleaseBody),
    ("single-release", "/escrow/{type}/dispute-escrow", DisputeBody),
    ("single-release", "/escrow/{type}/resolve-dispute", ResolveBody),
    ("multi-release", "/deployer/{type}", MultiDeployBody),
    ("multi-release", "/escrow/{type}/fund-escrow", FundBody),
    ("multi-release", "/escrow/{type}/change-milestone-status", StatusBody),
    ("multi-release", "/escrow/{type}/approve-milestone", ApproveBody),
    ("multi-release", "/escrow/{type}/release-milestone-funds", ReleaseMilestoneBody),
    ("multi-release", "/escrow/{type}/dispute-milestone", DisputeMilestoneBody),
    ("multi-release", "/escrow/{type}/resolve-milestone-dispute", ResolveMilestoneBody),
    ("multi-release", "/escrow/{type}/withdraw-remaining-funds", WithdrawBody),
)


class NestError(Exception):
    """An answer in the form of the vendor's framework: `{statusCode, message}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


Endpoint = Callable[[Request], Awaitable[Response]]


class TrustlessWorkFace:
    """Answers as the v1 API does, from one chain."""

    def __init__(self, chain: Chain, clock: Clock) -> None:
        self._chain = chain
        self._clock = clock
        self._builder = Builder(chain)
        self._index = EscrowIndex(chain)
        self._asked: deque[float] = deque()

    def routes(self) -> list[Route]:
        """Every route of this face, without its prefix."""
        routes = [
            Route(path.format(type=of), self._guarded(self._build_with(of, kind)), methods=["POST"])
            for of, path, kind in _BUILDS
        ]
        reads = {
            "/helper/get-escrow-by-contract-ids": self._escrows_by_id,
            "/helper/get-escrows-by-signer": self._escrows_by_signer,
            "/helper/get-multiple-escrow-balance": self._balances,
        }
        routes += [Route(path, self._guarded(read), methods=["GET"]) for path, read in reads.items()]
        routes.append(Route("/helper/send-transaction", self._guarded(self._send), methods=["POST"]))
        update = self._guarded(self._update_from_hash)
        # Two spellings are documented, with two methods.
        routes.append(Route("/indexer/update-from-txHash", update, methods=["POST", "PUT"]))
        routes.append(Route("/indexer/update-from-txhash", update, methods=["POST", "PUT"]))
        return routes

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint behind the API key, the limit and the error form."""

        async def answer(request: Request) -> Response:
            try:
                self._admit(request)
                return await endpoint(request)
            except NestError as error:
                return nest_response(error.status, error.message)
            except (BadBody, BuildRefused) as error:
                return nest_response(400, str(error))

        return answer

    def _admit(self, request: Request) -> None:
        options = self._chain.options
        if request.headers.get("x-api-key") != options.trustless_api_key:
            raise NestError(401, "Unauthorized")
        if not options.trustless_rate_limited:
            return
        moment = self._clock.monotonic()
        while self._asked and self._asked[0] <= moment - WINDOW_SECONDS:
            self._asked.popleft()
        if len(self._asked) >= REQUESTS_MAX:
            raise NestError(429, "ThrottlerException: Too Many Requests")
        self._asked.append(moment)

    def _build_with(self, escrow_type: EscrowType, kind: type[CallBody]) -> Endpoint:
        async def build(request: Request) -> Response:
            fault = fault_in(request, "malicious_build")
            malice = None if fault is None else str(fault.request.value)
            unsigned = self._builder.build(read_body(await request.body(), kind), escrow_type, malice)
            return JSONResponse({"status": "SUCCESS", "unsignedTransaction": unsigned})

        return build

    async def _send(self, request: Request) -> Response:
        body = read_body(await request.body(), SendBody)
        try:
            envelope = self._chain.decode(body.signed_xdr)
            record = await submit(self._chain, envelope, fault_in(request, "tx_error", "submit_timeout"))
        except Malformed as error:
            raise NestError(400, f"Bad Request: invalid XDR: {error}") from error
        except Rejected as rejected:
            codes = result_codes(rejected.outcome, rejected.envelope.inner_hash)
            raise NestError(400, f"The transaction was rejected: {json.dumps(codes)}") from rejected
        except SubmissionTimeout as timeout:
            raise NestError(500, "The transaction may not be complete yet") from timeout
        if not record.success:
            raise NestError(400, _failure_text(record))
        self._index.learn(record)
        answer: dict[str, Any] = {
            "status": "SUCCESS",
            "message": "The transaction has been successfully sent to the Stellar network",
        }
        if record.returned_contract is not None and fault_in(request, "no_contract_id") is None:
            answer["contractId"] = record.returned_contract
            answer["escrow"] = self._index.row(record.returned_contract, fresh=True)
        return JSONResponse(answer)

    async def _update_from_hash(self, request: Request) -> Response:
        body = read_body(await request.body(), UpdateBody)
        record = self._chain.history.by_hash.get(body.tx_hash.lower())
        if record is None or not record.success or not self._index.learn(record):
            raise NestError(400, "No escrow transaction with this hash was found")
        return JSONResponse({"status": "SUCCESS", "message": "Escrow updated"})

    async def _escrows_by_id(self, request: Request) -> Response:
        given = request.query_params
        contracts = given.getlist("contractIds[]") + given.getlist("contractIds")
        if not contracts:
            raise NestError(400, "contractIds must contain at least 1 elements")
        fresh = given.get("validateOnChain") == "true"
        rows = [self._index.row(contract, fresh=fresh) for contract in contracts]
        if fault_in(request, "index_blind"):
            rows = []
        if not any(rows):
            raise NestError(400, "Escrow not found")
        return JSONResponse([row for row in rows if row])

    async def _escrows_by_signer(self, request: Request) -> Response:
        given = request.query_params
        signer = given.get("signer")
        if not signer:
            raise NestError(400, "signer should not be empty")
        fresh = given.get("validateOnChain") == "true"
        rows = self._index.rows_of(signer, given.get("engagementId"), fresh=fresh)
        return JSONResponse([] if fault_in(request, "index_blind") else rows)

    async def _balances(self, request: Request) -> Response:
        given = request.query_params.getlist("addresses") + request.query_params.getlist("addresses[]")
        addresses = [address for text in given for address in text.split(",") if address]
        if not 1 <= len(addresses) <= BALANCE_ADDRESSES_MAX:
            raise NestError(400, f"addresses must contain 1 to {BALANCE_ADDRESSES_MAX} elements")
        state, rows = self._chain.state, []
        for address in addresses:
            if address not in state.escrows:
                raise NestError(400, f"Escrow not found: {address}")
            rows.append({"address": address, "balance": number(self._index.balance(address))})
        return JSONResponse(rows)


def nest_response(status: int, message: str) -> Response:
    """An error in the vendor's form."""
    return JSONResponse({"statusCode": status, "message": message}, status)


def _failure_text(record: TransactionRecord) -> str:
    if record.complaint is not None:
        return record.complaint[1]
    return f"The transaction failed: {json.dumps(result_codes(record.outcome, record.envelope.inner_hash))}"
