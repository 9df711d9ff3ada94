"""Schemathesis against the served document: one way to run it, for the short run of `make test` and the long one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import schemathesis
from fuzz_ids import RealIds
from fuzz_judgement import is_excused
from fuzz_stage import REFERENCES
from schemathesis import Case, HookContext, Response
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.engine import StopReason, events, from_schema
from schemathesis.generation.meta import CoveragePhaseData
from schemathesis.hooks import unregister

OFTEN: Final = 0.5
"""How often a value of a dictionary is sent instead of a generated one."""
DICTIONARIES: Final[Mapping[str, Sequence[str]]] = {
    "amounts": ["0.01", "1.00", "5.00", "10.00"],
    "milestones": ["design"],
    "references": REFERENCES,
}
BOUND: Final[Mapping[str, str]] = {
    "path.ref": "milestones",
    "body.amount": "amounts",
    "body.releaseAmount": "amounts",
    "body.refundAmount": "amounts",
    "body.orderId": "references",
    "body.destinationRef": "addresses",
}
"""Which parameters a dictionary feeds. Ids are exchanged by `fuzz_ids`, in every phase."""


@dataclass(frozen=True)
class Plan:
    """A run: who asks, how much, and of which operations (None: of all but `without`).

    `coverage_step` n sends every n-th case of the coverage phase, which has no bound of its own. `headers` are sent
    as they are instead of generated ones.
    """

    credential: str
    seed: int
    examples: int
    coverage_step: int = 1
    only: Sequence[str] | None = None
    without: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    address: str = "GDIR3NAXT4GVWVMD4LNJ4XCZLAXHCYZGXRZJGBLT6NKQKEVKPLFPZZH5"

    def configuration(self, url: str) -> SchemathesisConfig:
        """The run in the words of Schemathesis: every check and every phase is on unless something here says why."""
        chosen = {"exclude-operation-id": list(self.only)} if self.only else {"include-operation-id": [*self.without]}
        dictionaries = {**DICTIONARIES, "addresses": [self.address]}
        return SchemathesisConfig.from_dict(
            {
                "seed": self.seed,
                "base-url": f"{url}/api/v1",
                "continue-on-failure": True,
                "request-timeout": 20,
                "cache": {"enabled": False},
                "auth": {"openapi": {"bearer": {"bearer": self.credential}}},
                "dictionaries": {name: {"values": list(values)} for name, values in dictionaries.items()},
                "parameters": {
                    **{name: {"dictionary": one, "probability": OFTEN} for name, one in BOUND.items()},
                    **{f"header.{name}": value for name, value in self.headers.items()},
                },
                "generation": {
                    "max-examples": self.examples,
                    "database": "none",
                    # A failure is shown with the request as it was sent; looking for a smaller one takes minutes.
                    "no-shrink": True,
                    # PostgreSQL keeps no NUL in text, and a schema that said so of every string would hide the rest.
                    # test_route_matrix and test_edge_validation hold that NUL is answered with 400.
                    "allow-x00": False,
                    # Credentials that are made up are refused (test_route_matrix, and the check `ignored_auth`).
                    "with-security-parameters": False,
                },
                # The operations of `only` do not lead to one another.
                "phases": {"stateful": {"enabled": self.only is None, "max-steps": 8}},
                "operations": [{**chosen, "enabled": False}],
                "checks": {
                    # A request that the schema allows may be refused for what only the use case knows: something is
                    # not there (404), not in the right state (409), not affordable or not payable (422). 400 is
                    # left out on purpose: `is_excused` names the few faults that no schema can say.
                    "positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", "404", "409", "422"]},
                },
            }
        )


@dataclass
class Outcome:
    """What a run came to: cases by phase, answers by operation and status, failures by what went wrong."""

    seed: int
    cases: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    answers: dict[str, Counter[int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    finished: bool = False

    def note(self, event: events.EngineEvent) -> None:
        """Take in what the engine tells."""
        if isinstance(event, events.ScenarioFinished):
            self._note_scenario(event)
        elif isinstance(event, events.NonFatalError):
            self.errors.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            self.errors.append(f"fatal: {event.exception!r}")
        elif isinstance(event, events.EngineFinished):
            self.finished = event.stop_reason is StopReason.COMPLETED

    def _note_scenario(self, event: events.ScenarioFinished) -> None:
        recorder = event.recorder
        self.cases[event.phase.value] += len(recorder.cases)
        for case_id, node in recorder.cases.items():
            label, response = node.value.operation.label, recorder.find_response(case_id=case_id)
            if response is not None:
                self.answers.setdefault(label, Counter())[response.status_code] += 1
            for check in recorder.checks.get(case_id, ()):
                self.checks[check.name] += 1
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    told = "" if response is None else f"{response.status_code} {response.text[:600]}"
                    what = f"{label}: {check.name}: {failure.title}: {failure.message[:300]}"
                    self.failures.setdefault(what, f"{check.failure_info.code_sample}\n{told}")

    @property
    def total(self) -> int:
        """How many cases were sent."""
        return sum(self.cases.values())

    def reached(self) -> set[str]:
        """The operations that a use case has answered with success."""
        return {label for label, found in self.answers.items() if any(status < 400 for status in found)}

    def report(self, name: str) -> str:
        """A few lines for whoever ran it."""
        phases = ", ".join(f"{count} {phase}" for phase, count in sorted(self.cases.items()) if count)
        statuses = sum(self.answers.values(), Counter[int]())
        seen = ", ".join(f"{count}x{status}" for status, count in sorted(statuses.items()))
        lines = [
            f"fuzz {name}: seed {self.seed}, {self.total} cases ({phases}), {sum(self.checks.values())} checks, "
            f"{len(self.failures)} failures, {len(self.errors)} errors",
            f"fuzz {name}: answers {seen}; {len(self.reached())} of {len(self.answers)} operations succeeded",
            f"fuzz {name}: never with success: {', '.join(sorted(self.answers.keys() - self.reached())) or '-'}",
        ]
        lines += [f"--- {what}\n{how}" for what, how in sorted(self.failures.items())]
        return "\n".join([*lines, *(f"--- {error}" for error in self.errors)])


def run(url: str, plan: Plan, ids: RealIds) -> Outcome:
    """Carry a plan out; blocks. Hooks of Schemathesis are global, so only one run at a time."""
    outcome = Outcome(plan.seed)
    coverage = Counter[str]()

    def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
        ids.exchange(case)

    def after_call(context: HookContext, case: Case, response: Response) -> None:
        ids.learn(response)

    def filter_case(context: HookContext, case: Case) -> bool:
        if case.meta is None or not isinstance(case.meta.phase.data, CoveragePhaseData):
            return True
        label = case.operation.label
        coverage[label] += 1
        return coverage[label] % plan.coverage_step == 0

    def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
        return not is_excused(failure, case, response)

    hooks = (before_call, after_call, filter_case, filter_failure)
    for hook in hooks:
        schemathesis.hook(hook)
    try:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=plan.configuration(url))
        for event in from_schema(schema).execute():
            outcome.note(event)
    finally:
        for hook in hooks:
            unregister(hook)
    return outcome
