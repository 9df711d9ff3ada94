"""Faults in force: what matches which call, and how often it has fired.

The count is there so that a test can tell a fault that was survived from one that never was.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from offerhub.sandbox.airtm_model import FATES
from offerhub.sandbox.fault_kinds import KINDS, WIRES, Face, FaultKind
from offerhub.sandbox.results import CODES_BY_NAME

PREFIXES: Final[dict[Face, str]] = {
    "horizon": "/horizon",
    "rpc": "/rpc",
    "trustless_work": "/trustless-work",
    "airtm": "/airtm/v2",
    "airtm_connect": "/airtm/api/connect/v1",
}
HEADER: Final = b"x-sandbox-fault"
MALICE: Final = ("destination", "operation", "contract", "fee", "network")


class BadFault(ValueError):
    """There is no such fault; the text says why."""


class FaultRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to go wrong, and when.

    `route` is a regular expression matched from the start of the path in the face, or of the type of a webhook;
    `method` narrows it to one HTTP method. It fires from the `nth` matching call on, at most `times` times, each
    time with `probability`. The rest tells the kind how (fault_kinds).
    """

    face: Face
    kind: str
    route: str = "."
    method: str | None = None
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    nth: Annotated[int, msgspec.Meta(ge=1)] = 1
    probability: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=31_536_000)] | None = None
    retry_after: Annotated[int, msgspec.Meta(ge=0)] | None = None
    field: str | None = None
    value: str | int | None = None
    code: str | None = None
    then: Literal["success", "never"] | None = None
    target: str | None = None


@dataclass(slots=True)
class Fault:
    """A fault, how often it has matched and how often it has fired. `by` is `control` or `header`."""

    id: int
    request: FaultRequest
    sort: FaultKind
    pattern: re.Pattern[str]
    by: str = "control"
    seen: int = 0
    fired: int = 0

    @property
    def kind(self) -> str:
        """Its name."""
        return self.request.kind

    @property
    def seconds(self) -> float:
        """What it waits or shifts."""
        return self.sort.seconds if self.request.seconds is None else self.request.seconds

    def shown(self) -> dict[str, Any]:
        """As `GET /_sim/faults` lists it, without what it was not told."""
        told = {name: value for name, value in msgspec.to_builtins(self.request).items() if value is not None}
        return {"id": self.id, **told, "by": self.by, "seen": self.seen, "fired": self.fired}


class Faults:
    """The faults in force, in the order in which they were asked for; the first match fires."""

    def __init__(self, digest: Callable[[str], bytes]) -> None:
        self._digest = digest
        self._faults: list[Fault] = []
        self._next_id = 1

    def add(self, request: FaultRequest) -> Fault:
        """Put a fault in force. Raises BadFault."""
        fault = self._made(request)
        self._faults.append(fault)
        return fault

    def remove(self, fault_id: int) -> Fault | None:
        """Forget one, and return it; None when there is none."""
        found = next((fault for fault in self._faults if fault.id == fault_id), None)
        if found is not None:
            self._faults.remove(found)
        return found

    def clear(self) -> list[Fault]:
        """Forget all of them, and their counts, and return them."""
        cleared, self._faults = self._faults, []
        return cleared

    def shown(self) -> list[dict[str, Any]]:
        """Every fault with its count."""
        return [fault.shown() for fault in self._faults]

    def take(self, method: str, path: str, *, streams: bool = False) -> Fault | None:
        """The fault that is due for a request, counted as fired. `streams`: it asks for server-sent events."""
        face, inner = face_of(path)
        if face is None:
            return None
        call = f"{'STREAM' if streams else method} {inner}"
        for fault in self._faults:
            wanted = fault.request.method
            if (
                fault.request.face == face
                and fault.by == "control"
                and (wanted is None or wanted.upper() == method)
                and fault.sort.calls.match(call)
                and fault.pattern.match(inner)
                and self._is_due(fault)
            ):
                return fault
        return None

    def take_header(self, text: str, method: str, path: str, *, streams: bool = False) -> Fault:
        """The fault that a request asks for itself: `kind;name=value;…`. Raises BadFault."""
        face, inner = face_of(path)
        if face is None:
            raise BadFault("there are no faults by header here")
        kind, *pairs = (part.strip() for part in text.split(";"))
        told = dict(pair.partition("=")[::2] for pair in pairs if pair)
        try:
            request = msgspec.convert({**told, "face": face, "kind": kind}, FaultRequest, strict=False)
        except msgspec.ValidationError as error:
            raise BadFault(str(error)) from error
        fault = next((one for one in self._faults if one.by == "header" and one.request == request), None)
        if fault is None:
            fault = self._made(request)
            fault.by = "header"
        if not fault.sort.calls.match(f"{'STREAM' if streams else method} {inner}"):
            raise BadFault(f"{kind} does not apply to this call")
        if fault not in self._faults:
            self._faults.append(fault)
        fault.seen += 1
        fault.fired += 1
        return fault

    def take_event(self, event: str, stage: Literal["send", "attempt"]) -> Fault | None:
        """The fault that is due for a webhook of this type when it is made, or at an attempt; counted as fired."""
        for fault in self._faults:
            # "delay" is the one kind that wires and webhooks share.
            acts = "send" if fault.sort.stage == "wire" else fault.sort.stage
            if (
                fault.request.face == "webhooks"
                and acts == stage
                and fault.pattern.match(event)
                and self._is_due(fault)
            ):
                return fault
        return None

    def _made(self, request: FaultRequest) -> Fault:
        sort = KINDS.get(request.kind)
        if sort is None or request.face not in sort.faces:
            known = ", ".join(name for name, one in KINDS.items() if request.face in one.faces)
            raise BadFault(f"{request.face} has no fault {request.kind[:40]}; it has {known}")
        _check(request)
        try:
            pattern = re.compile(request.route)
        except re.error as error:
            raise BadFault(f"route is not a regular expression: {error}") from error
        fault = Fault(self._next_id, request, sort, pattern)
        self._next_id += 1
        return fault

    def _is_due(self, fault: Fault) -> bool:
        request = fault.request
        if request.times is not None and fault.fired >= request.times:
            return False
        fault.seen += 1
        if fault.seen < request.nth:
            return False
        draw = int.from_bytes(self._digest(f"fault:{fault.id}:{fault.seen}")[:8]) / 2**64
        if draw >= request.probability:
            return False
        fault.fired += 1
        return True


def face_of(path: str) -> tuple[Face | None, str]:
    """The face that a whole path leads to, and the path within it."""
    for face in WIRES:
        prefix = PREFIXES[face]
        if path.startswith(prefix + "/"):
            return face, path.removeprefix(prefix)
    return None, path


def _check(request: FaultRequest) -> None:
    """What some kinds must be told."""
    match request.kind:
        case "tx_error" if request.code not in CODES_BY_NAME:
            raise BadFault("code must be a transaction's result code, such as tx_bad_seq")
        case "submit_timeout" if request.then is None:
            raise BadFault("then must be success or never")
        case "malicious_build" if request.value not in MALICE:
            raise BadFault(f"value must be one of {', '.join(MALICE)}")
        case "outcome" if request.value not in FATES:
            raise BadFault(f"value must be one of {', '.join(sorted(FATES))}")
        case "set_field" | "drop_field" if not request.field:
            raise BadFault("field must name a field of the answer")
