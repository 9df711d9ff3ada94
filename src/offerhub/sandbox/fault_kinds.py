"""Every fault that can be asked for: where it strikes, and what it does (providers.md 8.6)."""

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

Face = Literal["horizon", "rpc", "trustless_work", "airtm", "airtm_connect", "webhooks", "chain"]
Stage = Literal["wire", "face", "send", "attempt", "chain"]

FACES: Final = get_args(Face)
WIRES: Final[tuple[Face, ...]] = ("horizon", "rpc", "trustless_work", "airtm", "airtm_connect")

_ANY = re.compile(".")
_STREAM = re.compile(r"STREAM ")
_SUBMISSION = re.compile(r"POST /(transactions|transactions_async|helper/send-transaction|sendTransaction)$")
_ASYNC = re.compile(r"POST /(transactions_async|sendTransaction)$")
_CURSOR = re.compile(r"(GET|STREAM) /(.*(payments|operations|transactions|effects|ledgers))?$|POST /get")
_NODE = re.compile(r"POST /get")
_BUILD = re.compile(r"POST /(deployer|escrow)/")
_SEND = re.compile(r"POST /helper/send-transaction$")
_LISTS = re.compile(r"GET /helper/get-escrow")
_CREATE = re.compile(r"POST /(payins|payouts)$")


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault.

    `stage` is what carries it out: the wire in front of a face, the face itself, the sender of webhooks when it
    makes a message or at each attempt, or the ledger, at once. `calls` is matched with `METHOD /path` within the
    face (`STREAM` for server-sent events; of RPC the method is the path). `seconds` is what it waits or shifts unless
    it is told.
    """

    faces: tuple[Face, ...]
    stage: Stage
    words: str
    calls: re.Pattern[str] = _ANY
    seconds: float = 1.0


def _wire(words: str, seconds: float = 1.0) -> FaultKind:
    return FaultKind(WIRES, "wire", words, seconds=seconds)


def _stellar(words: str, calls: re.Pattern[str]) -> FaultKind:
    return FaultKind(("horizon", "rpc"), "face", words, calls)


def _horizon(words: str, calls: re.Pattern[str]) -> FaultKind:
    return FaultKind(("horizon",), "face", words, calls)


def _trustless(words: str, calls: re.Pattern[str]) -> FaultKind:
    return FaultKind(("trustless_work",), "face", words, calls)


def _chain(words: str, seconds: float = 60.0) -> FaultKind:
    return FaultKind(("chain",), "chain", words, seconds=seconds)


KINDS: Final[dict[str, FaultKind]] = {
    "lose_response": _wire("does the work, then cuts the connection"),
    "lose_request": _wire("cuts the connection without doing anything"),
    "error_before": _wire("answers `status` (502) and an HTML page, does nothing"),
    "error_after": _wire("does the work, then answers `status` (500) and an HTML page"),
    "html_page": _wire("does the work, then answers 200 and an HTML page"),
    "truncated_json": _wire("does the work, then answers half of the JSON"),
    "empty_body": _wire("does the work, then answers its status with no body"),
    "rate_limit": _wire("answers 429, with Retry-After if `retry_after` is given, does nothing"),
    "unauthorized": _wire("answers `status` (401), as for revoked credentials"),
    "not_found": _wire("answers 404 in the form of the face"),
    "delay": FaultKind((*WIRES, "webhooks"), "wire", "waits `seconds` first; a webhook is sent that much later"),
    "slow_response": _wire("does the work, then waits `seconds` before it answers"),
    "slow_body": _wire("does the work, then sends the body byte by byte, one every `seconds`"),
    "wrong_type": _wire("does the work, then answers `field` (or all) with another type"),
    "drop_field": _wire("does the work, then leaves `field` out of the answer"),
    "set_field": _wire("does the work, then answers with `field` set to `value`"),
    "duplicate_items": _wire("does the work, then shows the first item of a list twice"),
    "tx_error": FaultKind(
        ("horizon", "rpc", "trustless_work"),
        "face",
        "refuses a transaction with `code`; with `then=success` it is in a ledger all the same",
        _SUBMISSION,
    ),
    "submit_timeout": FaultKind(
        ("horizon", "trustless_work"),
        "face",
        "answers that nobody knows yet (504); `then` is success or never",
        _SUBMISSION,
    ),
    "try_again_later": _stellar("answers TRY_AGAIN_LATER, does nothing", _ASYNC),
    "duplicate_tx": _stellar("takes the transaction, and answers DUPLICATE", _ASYNC),
    "history_gone": _stellar(
        "knows of the last `value` (1) ledgers only: a cursor is too old (410, -32600)", _CURSOR
    ),
    "node_behind": FaultKind(
        ("rpc",), "face", "does not know of the last `value` (1) ledgers; getHealth says unhealthy", _NODE
    ),
    "stream_cut": _horizon("cuts the connection in the middle of a frame", _STREAM),
    "stream_duplicate": _horizon("sends every record twice", _STREAM),
    "stream_byebye": _horizon("says goodbye at once", _STREAM),
    "stream_error": _horizon("sends an error event, and ends", _STREAM),
    "stream_silence": _horizon("says hello, and never anything again", _STREAM),
    "malicious_build": _trustless(
        "builds something else; `value` is destination, operation, contract, fee or network", _BUILD
    ),
    "no_contract_id": _trustless("deploys, and does not say what", _SEND),
    "index_blind": _trustless("does not know of any escrow", _LISTS),
    "outcome": FaultKind(
        ("airtm",),
        "face",
        "decides how a payin or payout ends; `value` is fee, declined, waiting, stuck, refunded or odd",
        _CREATE,
    ),
    "drop": FaultKind(("webhooks",), "send", "never sends it"),
    "duplicate": FaultKind(("webhooks",), "send", "sends it twice at once, under one id"),
    "reorder": FaultKind(("webhooks",), "send", "keeps it back until another one has been sent"),
    "early": FaultKind(("webhooks",), "send", "sends it `seconds` before the change can be read"),
    "new_id": FaultKind(("webhooks",), "send", "sends it again under another id"),
    "bare": FaultKind(("webhooks",), "send", "sends the object alone, without type and data"),
    "bad_signature": FaultKind(("webhooks",), "attempt", "signs something else"),
    "old_timestamp": FaultKind(("webhooks",), "attempt", "signs a time `seconds` (600) ago", seconds=600.0),
    "future_timestamp": FaultKind(("webhooks",), "attempt", "signs a time `seconds` (600) ahead", seconds=600.0),
    "both_secrets": FaultKind(("webhooks",), "attempt", "signs with another secret and the known one"),
    "stall": _chain("closes no ledger for `seconds` (60)"),
    "time_jump": _chain("puts the clock forward by `seconds` (60) at one go"),
    "fee_surge": _chain("multiplies the minimum fee by `value`; 1 ends it"),
    "fee_mode": _chain("resolves disputes by the arithmetic `value` (floor_total reverts on odd amounts)"),
    "reset": _chain("begins the network anew: no accounts, ledgers count from the start"),
    "archive": _chain("archives the contract `target`: its next call must pay for the restoring"),
    "dispute": _chain(
        "lets the seller dispute the contract `target`; `value` is the milestone (0, 1 …) of a multi-release one"
    ),
    "freeze_line": _chain("takes the authorisation from the USDC trustline of `target`; `value=off` gives it back"),
    "full_line": _chain("sets the limit of the USDC trustline of `target` to what it holds, or to `value`"),
}
