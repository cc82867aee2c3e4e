"""`compare`: several networks on one cohort, each trained within the same share of one budget, in one table and page.

DIR/  compare.json   what was asked, and all that the finished runs say together
      compare.csv    a row for every run and for every network
      check.json     what `check` says of the cohort, for all runs
      report.html
      runs/NAME/     a run of `train` for each network, share of the data, repetition and fold

A finished run is skipped and an unfinished one is gone on with, so going on after an interruption is the same call again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from striate.comparing.asked import Asked
from striate.comparing.result import result_of, table_of
from striate.comparing.row import finished
from striate.comparing.shares import DEFAULT_BUDGET, share, told
from striate.comparing.trial import Trial, trials
from striate.core.errors import DataError, UsageError, expected
from striate.core.files import read_json, write_json, write_text
from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent, hearing_warnings
from striate.data.cohort import Cohort
from striate.training.run import alone
from striate.workflows.checked import FILE as CHECK
from striate.workflows.checked import passed
from striate.workflows.compare_fit import fitting
from striate.workflows.compare_runs import run_all

KIND, VERSION, FILE = "striate-comparison", 1, "compare.json"


@dataclass(frozen=True)
class Compared:
    """What `compare` ends with.

    Attributes
    ----------
    folder
        Where everything lies.
    runs
        What was to be run, in order.
    run_s
        Seconds of each run; None where the length is given in steps.
    sizes
        Network → input size, parameters and MACs, known before anything is run.
    result
        As in ``compare.json``; empty for a dry run.
    failed
        Name of a run → why it has no result.
    report
        The HTML page; None for a dry run.
    """

    folder: Path
    runs: tuple[Trial, ...]
    run_s: float | None
    sizes: dict[str, dict[str, Any]]
    result: dict[str, Any]
    failed: dict[str, str]
    report: Path | None


@kinds
def compare(
    cohort: Path | str | None = None,
    networks: Sequence[str] | None = None,
    *,
    out: Path | str | None = None,
    resume: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Compared:
    """Train networks within one budget and compare them, or go on with a comparison.

    Parameters
    ----------
    cohort
        Folder or CSV of a cohort; with `resume` it may be left out.
    networks
        Names of at least one network.
    out
        Folder of the comparison; ``comparisons/COHORT`` by default.
    resume
        Go on with the comparison in `out`; options that are given must be those that it was begun with.
    dry_run
        Say what would be run, and run nothing.
    progress
        Who listens; by default nobody.
    options
        ``budget`` (of all runs together, 30 minutes by default) or ``steps`` of each run; ``fractions``, ``seeds``,
        ``seed``, ``holdout``, ``fold``, ``folds``, ``task``, ``regions``, ``memory``, ``dims``, ``encoder``, ``probe``: see
        `striate.comparing.asked.Asked`.

    Raises
    ------
    DataError, UsageError, ModelError, ResourceError
        See the message: what came, what was needed, what to do.
    Interrupted
        After SIGINT or SIGTERM; `resume` goes on.
    """
    progress = progress or Silent()
    folder = _place(cohort, out, resume=resume)
    asked = _asked(folder, {"cohort": cohort, "networks": networks, **options}, resume=resume)
    with hearing_warnings(progress):
        sizes, starts = fitting(asked, progress)
    runs = trials(asked, starts)
    run_s = None if asked.steps else share(asked.budget or DEFAULT_BUDGET, len(runs))
    if dry_run:
        return Compared(folder, runs, run_s, sizes, {}, {}, None)
    progress.note(told(runs, run_s))
    left = [t for t in runs if not finished(t.folder(folder))]
    check = passed(Cohort.open(Path(asked.cohort)), folder / CHECK, progress) if left else None
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if check is not None:
            check.write(folder / CHECK)
        head = {"kind": KIND, "schema_version": VERSION, "asked": asked.model_dump(mode="json"), "run_s": run_s}
        head["planned"] = [t.name for t in runs]
        if not (folder / FILE).exists():
            write_json(folder / FILE, head)
        failed = run_all(asked, runs, run_s, folder, progress)
        result = result_of(runs, folder)
        state = {"failed": failed, "missing": [t.name for t in runs if not finished(t.folder(folder))]}
        write_json(folder / FILE, {**head, **state, **result})
        write_text(folder / "compare.csv", table_of(result))
        from striate.workflows.report import report

        return Compared(folder, runs, run_s, sizes, result, failed, report(folder))


def _place(cohort: Path | str | None, out: Path | str | None, *, resume: bool) -> Path:
    """Return the folder of the comparison.

    Raises
    ------
    UsageError
        When it is not known.
    DataError
        When it holds something already that is not gone on with, or nothing that could be.
    """
    if cohort is None and (out is None or not resume):
        raise UsageError(f"no cohort (cohort is {cohort}): give a folder or CSV to train on, or --out DIR --resume.")
    folder = Path(out) if out is not None else Path("comparisons") / (Path(str(cohort)).resolve().stem or "cohort")
    known = (folder / FILE).exists()
    if resume and not known:
        raise DataError(
            expected(folder, f"no {FILE} is in it", "the folder of a comparison is needed to go on with"), path=folder
        )
    if not resume and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        on = " or go on with it: --resume" if known else " or remove it"
        raise DataError(
            expected(folder, "it exists and is not empty", "a new comparison needs a folder of its own",
                     f"Choose another --out{on}."), path=folder,
        )  # fmt: skip
    return folder


def _asked(folder: Path, given: dict[str, Any], *, resume: bool) -> Asked:
    """Return what is asked for: what is given, or what the comparison was begun with.

    Raises
    ------
    UsageError
        When something does not fit, or another thing is given than the comparison was begun with.
    """
    given = {k: v for k, v in given.items() if v not in (None, (), [])}
    unknown = [k for k in given if k not in Asked.model_fields]
    if unknown:
        from striate.core.names import did_you_mean

        raise UsageError(f"unknown option '{unknown[0]}'. {did_you_mean(unknown[0], Asked.model_fields)}")
    if "cohort" in given:
        given["cohort"] = str(Path(given["cohort"]).resolve())
    if "encoder" in given:
        given["encoder"] = str(Path(given["encoder"]).resolve())
    if not resume:
        if not given.get("networks"):
            raise UsageError(
                "networks: none is given; names are needed, for instance lenet5,mlp: see striate networks."
            )
        return Asked.of(**given)
    before = Asked.parse(read_json(folder / FILE, KIND, VERSION)["asked"], folder / FILE)
    now = Asked.of(**{**before.model_dump(), **given})
    for name in given:
        if getattr(now, name) != getattr(before, name):
            raise UsageError(
                f"{name} {_shown(getattr(now, name))}: the comparison in {folder} was begun with"
                f" {_shown(getattr(before, name))}. Leave it out to go on, or begin another one with another --out."
            )
    return now


def _shown(value: Any) -> str:
    return (
        ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)
        if isinstance(value, tuple)
        else str(value)
    )
