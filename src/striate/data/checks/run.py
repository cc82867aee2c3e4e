"""Running all checks over a cohort, and `CheckResult`: what they found, kept as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.core.errors import FormatError, expected
from striate.core.files import read_json, write_json
from striate.core.progress import Progress, Silent
from striate.data.checks import CHECKS
from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.gather import gather
from striate.data.checks.problem import SEVERITIES, Problem
from striate.data.checks.states import states

if TYPE_CHECKING:
    from striate.data.cohort import Cohort

KIND = "striate-check"
VERSION = 1


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What the checks found.

    Attributes
    ----------
    cohort
        Name of the cohort.
    cases
        Number of cases.
    problems
        Errors first, then warnings, then notes; by case within each.
    facts
        What was measured of each case, as JSON knows it (see docs/concepts/checks.md).
    states
        Case → what its files were (`striate.data.checks.states`); empty where an older Striate wrote the result.
    """

    cohort: str
    cases: int
    problems: tuple[Problem, ...]
    facts: tuple[dict[str, Any], ...] = field(default_factory=tuple)
    states: dict[str, str] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """True where there is neither an error nor a warning."""
        return all(p.severity == "note" for p in self.problems)

    def count(self, severity: str) -> int:
        """Return how many problems have `severity`."""
        return sum(p.severity == severity for p in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `write` writes."""
        return {
            "kind": KIND, "schema_version": VERSION, "cohort": self.cohort, "cases": self.cases,
            "problems": [p.to_dict() for p in self.problems], "facts": list(self.facts),
            "states": self.states,
        }  # fmt: skip

    def of(self, cohort: Cohort) -> bool:
        """Tell whether this is the result of just these files: the same places, sizes and times of change."""
        return self.states == states(cohort)

    def write(self, path: Path) -> None:
        """Write the result to `path` (``check.json``), whole or not at all."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> CheckResult:
        """Read a result back.

        Raises
        ------
        FormatError
            When `path` is not such a file, lacks something, or is of a newer version.
        """
        document = read_json(path, KIND, VERSION)
        try:
            problems = tuple(Problem.from_dict(p) for p in document["problems"])
            facts = tuple({**fact, "case": fact["case"]} for fact in document["facts"])
            return cls(document["cohort"], document["cases"], problems, facts, dict(document.get("states", {})))
        except (KeyError, TypeError, ValueError) as error:
            wrong = f"no {error}" if isinstance(error, KeyError) else "values of other kinds"
            raise FormatError(
                expected(
                    path,
                    f"{wrong} in it",
                    "the result of a check is needed",
                    "Make it: striate check COHORT --out FILE",
                ),
                path=path,
            ) from error


def run_checks(cohort: Cohort, progress: Progress | None = None) -> CheckResult:
    """Read every case once, one after the other, and run all checks.

    Files that cannot be read, or for which memory does not suffice, are problems, not exceptions.
    """
    progress, before = Silent() if progress is None else progress, states(cohort)
    found = list[CaseFacts]()
    with progress.bar("reading", len(cohort.cases)) as bar:
        for case in cohort.cases:
            done = len(found)
            found.append(
                gather(case, lambda share, doing, n=done, name=case.name: bar.update(n + share, case=name, now=doing))  # type: ignore[misc]
            )
            bar.update(len(found), case=case.name)
    problems = find_problems(CohortFacts(tuple(found), dict(cohort.label_names)))
    return CheckResult(cohort.name, len(found), problems, tuple(c.to_dict() for c in found), before)


def find_problems(facts: CohortFacts) -> tuple[Problem, ...]:
    """Run all checks on facts that were gathered; errors first, then by case."""
    found = [problem for check in CHECKS.values() for problem in check(facts)]
    order = {case.case: index for index, case in enumerate(facts.cases)}
    return tuple(sorted(found, key=lambda p: (SEVERITIES.index(p.severity), order.get(p.case or "", -1))))
