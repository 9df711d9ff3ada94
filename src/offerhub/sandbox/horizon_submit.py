"""Horizon's two ways to submit a transaction, with the faults that strike there (providers.md 6.4)."""

from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from offerhub.sandbox import horizon_json as shapes
from offerhub.sandbox.chain import Chain, Malformed, Rejected, SubmissionTimeout
from offerhub.sandbox.envelope import Envelope
from offerhub.sandbox.faults import Fault
from offerhub.sandbox.faulty_wire import fault_in
from offerhub.sandbox.history import TransactionRecord
from offerhub.sandbox.problem import Problem, bad
from offerhub.sandbox.results import CODES_BY_NAME, Outcome, result_codes, result_xdr

ECHO_LEDGERS: Final = 10
"""For so long a node answers TRY_AGAIN_LATER to a transaction that is in a ledger already."""
NODE_FAULTS: Final = ("try_again_later", "duplicate_tx")


async def submit(chain: Chain, envelope: Envelope, fault: Fault | None) -> TransactionRecord:
    """Offer an envelope and wait for its ledger, unless a fault wants something else.

    Raises Rejected when no ledger will take it (or a fault says so), SubmissionTimeout when that is not known.
    """
    if fault is None:
        return await chain.submit(envelope)
    if fault.request.then == "success" and envelope.hash not in chain.history.by_hash:
        if fault.kind == "tx_error":
            await chain.submit(envelope)
        else:
            chain.offer(envelope)
    if fault.kind == "tx_error":
        raise Rejected(envelope, Outcome(CODES_BY_NAME[fault.request.code or ""]))
    raise SubmissionTimeout(envelope)


class Submissions:
    """`POST /transactions` and `POST /transactions_async`."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def wait(self, request: Request) -> Response:
        """Answers with the transaction once it is in a ledger."""
        text, envelope = await self._read(request)
        try:
            record = await submit(self._chain, envelope, fault_in(request, "tx_error", "submit_timeout"))
        except Rejected as rejected:
            outcome = rejected.outcome
            raise _failed(
                text, result_codes(outcome, envelope.inner_hash), result_xdr(outcome, 0, envelope.inner_hash)
            ) from rejected
        except SubmissionTimeout as timeout:
            raise Problem(
                504,
                "transaction_submission_timeout",
                "Transaction Submission Timeout",
                "Your transaction submission request has timed out. This does not mean that it has failed.",
                {"hash": envelope.hash, "envelope_xdr": text},
            ) from timeout
        if not record.success:
            raise _failed(text, result_codes(record.outcome, envelope.inner_hash), record.result_xdr)
        body = shapes.transaction(record, str(request.base_url).rstrip("/"))
        headers = {"Latest-Ledger": str(self._chain.latest.sequence)}
        return JSONResponse(body, headers=headers, media_type="application/hal+json; charset=utf-8")

    async def at_once(self, request: Request) -> Response:
        """Answers with what the node says of it: PENDING, DUPLICATE, TRY_AGAIN_LATER or ERROR."""
        _, envelope = await self._read(request)
        fault = fault_in(request, "tx_error", "submit_timeout", *NODE_FAULTS)
        status, refusal = offer_at_once(self._chain, envelope, fault)
        http = {"PENDING": 201, "DUPLICATE": 409, "TRY_AGAIN_LATER": 503, "ERROR": 400}[status]
        more = {} if refusal is None else {"error_result_xdr": refusal}
        return JSONResponse({"tx_status": status, "hash": envelope.hash, **more}, http)

    async def _read(self, request: Request) -> tuple[str, Envelope]:
        text = parse_qs((await request.body()).decode("latin-1")).get("tx", [""])[0]
        if not text:
            raise bad("tx", "the form field tx is required")
        try:
            return text, self._chain.decode(text)
        except Malformed as error:
            raise Problem(
                400,
                "transaction_malformed",
                "Transaction Malformed",
                "Horizon could not decode the transaction envelope in this request.",
                {"envelope_xdr": text},
            ) from error


def offer_at_once(chain: Chain, envelope: Envelope, fault: Fault | None) -> tuple[str, str | None]:
    """What a node says of an envelope that it is offered, without waiting; of an ERROR also the result in base64."""
    kind = fault.kind if fault is not None else ""
    if fault is not None and kind == "tx_error":
        if fault.request.then == "success":
            with suppress(Rejected):
                chain.offer(envelope)
        return _error(envelope, Outcome(CODES_BY_NAME[fault.request.code or ""]))
    waiting = chain.pending_of(envelope.source)
    if waiting is not None and waiting.hash == envelope.hash:
        return "DUPLICATE", None
    known = chain.history.by_hash.get(envelope.hash)
    is_echo = known is not None and chain.latest.sequence - known.ledger < ECHO_LEDGERS
    is_never = fault is not None and fault.request.then == "never"
    if kind == "try_again_later" or is_never or waiting is not None or is_echo:
        return "TRY_AGAIN_LATER", None
    refusal = _refusal(chain, envelope)
    if refusal is not None:
        return _error(envelope, refusal)
    return ("DUPLICATE" if kind == "duplicate_tx" else "PENDING"), None


def _refusal(chain: Chain, envelope: Envelope) -> Outcome | None:
    """Queue it; why not, if a node would not."""
    try:
        chain.offer(envelope)
    except Rejected as rejected:
        return rejected.outcome
    # A sequence number ahead of the account's is not queued.
    is_queued = chain.pending_of(envelope.source) is not None
    return None if is_queued else Outcome(CODES_BY_NAME["tx_bad_seq"])


def _error(envelope: Envelope, outcome: Outcome) -> tuple[str, str]:
    return "ERROR", result_xdr(outcome, 0, envelope.inner_hash)


def _failed(envelope_xdr: str, codes: dict[str, Any], result: str) -> Problem:
    return Problem(
        400,
        "transaction_failed",
        "Transaction Failed",
        "The transaction failed when submitted to the stellar network.",
        {"envelope_xdr": envelope_xdr, "result_codes": codes, "result_xdr": result},
    )
