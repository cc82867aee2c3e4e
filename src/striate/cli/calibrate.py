"""``striate calibrate MODEL COHORT --out NEW``: arguments in, what is known of the model's limits out."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.options import AsJson, Ensemble, ModelFolder, Uncertainty
from striate.core.counted import counted

if TYPE_CHECKING:
    from striate.measure.evaluation import Evaluation
    from striate.trust.trust import Trust
    from striate.workflows.calibrate import Calibrated


def command(
    model: ModelFolder,
    cohort: Annotated[
        Path,
        typer.Argument(metavar="COHORT", help="Cases with masks (or classes) that the model never saw, in any layout."),
    ],
    out: Annotated[
        Path, typer.Option(help="New folder for a copy of the model with its limits, and what was measured.")
    ],
    uncertainty: Uncertainty = None,
    ensemble: Ensemble = None,
    crf: Annotated[bool, typer.Option("--crf", help="Masks will be refined with the CRF.")] = False,
    coverage: Annotated[
        float, typer.Option(help="Share of subjects whose truth the intervals, or the sets of classes, shall hold.")
    ] = 0.9,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also bring the network to int8; kept where Dice falls by at most 0.002.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Measure on your own cases with masks, or classes, how far a model can be trusted."""
    from striate.cli.screen import Screen, show_json
    from striate.workflows.calibrate import calibrate

    found = calibrate(
        model, cohort, out, uncertainty=uncertainty, ensemble=ensemble or (), crf=crf, coverage=coverage,
        int8=int8, progress=Screen(quiet=as_json),
    )  # fmt: skip
    if as_json:
        show_json(
            {
                "out": out,
                "model": found.model.folder,
                "trust": found.trust.summary(),
                **found.evaluation.to_dict(),
                **({"int8": found.model.facts.get("int8")} if int8 else {}),
            }
        )
    else:
        _show(found)
    return 0


def _show(found: Calibrated) -> None:
    from striate.cli.classes import show_limits
    from striate.cli.screen import say
    from striate.cli.train import show_samples
    from striate.measure.evaluation import Evaluation
    from striate.trust.trust import Trust

    trust, evaluation = found.trust, found.evaluation
    if isinstance(trust, Trust) and isinstance(evaluation, Evaluation):
        _show_masks(found, trust, evaluation)
    elif not isinstance(trust, Trust):
        show_limits(trust)
        show_samples(evaluation.to_dict())
    say(f"Model:  {found.model.folder}")
    say(f"Report: {found.folder / 'report.html'}")
    say(f"Next:   striate predict {quote(str(found.folder))} IMAGE --out DIR")


def _show_masks(found: Calibrated, trust: Trust, evaluation: Evaluation) -> None:
    from striate.cli.screen import say, table
    from striate.cli.train import show_detection

    summary = evaluation.to_dict()["summary"]
    rows = []
    for name, held in trust.calibration.summary.items():
        before, after = held["before"] or {}, held["after"] or {}
        interval, lesions = trust.intervals.labels.get(name), trust.lesions.labels.get(name)
        rows.append(
            [
                name,
                _number((summary.get(name, {}).get("dice") or {}).get("mean")),
                f"{_number(before.get('ece'))} → {_number(after.get('ece'))}",
                _number(interval.volume_ml.coverage if interval else None),
                _number(interval.count.coverage if interval else None),
                _number(lesions.auroc if lesions else None),
            ]
        )
    table(rows, ["label", "Dice", "ECE", "volume held", "count held", "lesion AUROC"])
    say(judged_by(trust.n_subjects))
    if "int8" in found.model.facts:
        say(f"int8: {found.model.facts['int8']['reason']}")
    show_detection(evaluation.detection)


def judged_by(subjects: int) -> str:
    """Return how the subjects were judged; where there is one, leaving it out leaves nothing."""
    if subjects == 1:
        return "1 subject: what is fitted to it cannot be judged without others. – : too few to measure."
    return f"{counted(subjects, 'subject')}; each was left out of the fit of what judged it. – : too few to measure."


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
