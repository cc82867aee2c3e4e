"""``striate evaluate PREDICTED TRUTH``: arguments in, tables or one JSON document out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.options import AsJson, Regions
from striate.core.counted import counted, is_or_are

if TYPE_CHECKING:
    from striate.measure.classification import ClassEvaluation
    from striate.measure.detection import Detection
    from striate.measure.evaluation import Evaluation
    from striate.measure.reconstruction import ReconstructionEvaluation

HEADS = {
    "dice": "Dice", "iou": "IoU", "hd95_mm": "HD95 mm", "assd_mm": "ASSD mm", "volume_error_ml": "volume error mL",
    "lesion_f1": "lesion F1", "lesion_precision": "precision", "lesion_recall": "recall",
}  # fmt: skip
ROWS_SHOWN = 30


def command(
    predicted: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTED",
            help="What predict wrote (masks, predictions.csv or evaluation.json), a mask or a cohort.",
        ),
    ],
    truth: Annotated[
        Path, typer.Argument(metavar="TRUTH", help="A mask, a folder of masks, or a cohort in any layout.")
    ],
    regions: Regions = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write all values there: FILE.json or, of masks, FILE.csv.")
    ] = None,
    min_overlap: Annotated[float, typer.Option(help="Share of a lesion to cover to find it; 0: one voxel.")] = 0.0,
    min_lesion_ml: Annotated[float, typer.Option(help="Do not count lesions smaller than this, in mL.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the bootstrap intervals.")] = 0,
    as_json: AsJson = False,
) -> int:
    """Compare predicted masks or classes with the truth."""
    from striate.cli.screen import Screen, show_json
    from striate.cli.train import show_reconstructions
    from striate.core.errors import UsageError, expected
    from striate.measure.classification import ClassEvaluation
    from striate.measure.evaluation import Evaluation
    from striate.workflows.evaluate import evaluate

    screen = Screen(quiet=as_json)
    found = evaluate(
        predicted, truth, regions=regions, minimal_overlap=min_overlap, minimal_lesion_ml=min_lesion_ml, seed=seed,
        progress=screen,
    )  # fmt: skip
    if out is not None:
        if out.suffix.lower() == ".csv" and not isinstance(found, Evaluation):
            raise UsageError(expected("--out", str(out), "tables are of masks; the name of a JSON file is needed here"))
        found.write(out)
    if as_json:
        show_json(found.to_dict())
    elif isinstance(found, Evaluation):
        _show(found)
    elif isinstance(found, ClassEvaluation):
        _show_classes(found, screen.warnings)
    else:
        show_reconstructions(found.to_dict()["summary"])
        _show_anomaly(found)
    return 0


def _show_anomaly(found: ReconstructionEvaluation) -> None:
    """Print how well anomaly maps tell the masks, where there are masks."""
    from striate.cli.screen import say, table

    if not found.anomaly:
        return
    heads = {
        "auroc": "voxel AUROC",
        "average_precision": "average precision",
        "best_dice": "best Dice",
        "share": "share",
    }
    say()
    rows = [[case, *(_cell(values.get(m)) for m in heads)] for case, values in found.anomaly.items()]
    if len(rows) <= ROWS_SHOWN:
        table(rows, ["anomaly map", *heads.values()])
    of_all = [found.anomaly_summary[m] for m in heads]
    table(
        [["mean", *(_cell(s.mean) for s in of_all)], ["95 %", *(_interval(s.low, s.high) for s in of_all)]],
        [counted(len(rows), "map"), *heads.values()],
    )
    say(
        "best Dice: at the threshold that is best for each case, an upper bound; share: of voxels in the mask, the average"
    )
    say("precision of a map that knows nothing")


def _show_classes(found: ClassEvaluation, warned: Sequence[str]) -> None:
    from striate.cli.classes import show_how_limits_did
    from striate.cli.screen import table
    from striate.cli.train import show_overall, show_samples

    document = found.to_dict()
    summary = dict(document["summary"])
    show_overall(summary.pop("overall"))
    names = ("auc", "sensitivity", "specificity", "precision", "f1", "prevalence")
    rows = [[label, *(_cell(m[n]["value"]) for n in names)] for label, m in summary.items()]
    table(rows, ["class", *names])
    show_samples({**document, "notes": [note for note in found.notes if note not in warned]})
    show_how_limits_did(found.limits)


def _show(found: Evaluation) -> None:
    from striate.cli.screen import say, table
    from striate.measure.statistics import FEW_SUBJECTS

    head = list(HEADS.values())
    rows = [[c.case, label, *(_cell(v.get(m)) for m in HEADS)] for c in found.cases for label, v in c.labels.items()]
    if len(rows) <= ROWS_SHOWN:
        table(rows, ["case", "label", *head])
    else:
        say(f"{len(rows)} rows of cases and labels are not shown; --out FILE.csv writes them.")
    subjects = len({case.subject for case in found.cases})
    _show_detection(found)
    if len(found.cases) > 1:
        _show_summary(found, head, subjects)
    if subjects == 1:
        say("One subject: no intervals.")
    elif subjects < FEW_SUBJECTS:
        say(f"Intervals of the mean from {subjects} subjects: a hint only, too narrow with fewer than {FEW_SUBJECTS}.")


def _show_detection(found: Evaluation) -> None:
    """Print where the masks stand, and the free-response characteristic where lesions have probabilities."""
    from striate.cli.screen import say, table
    from striate.cli.train import alarms_per_scan

    ranked = {label: d for label, d in found.detection.items() if d.mean_sensitivity is not None}
    if ranked:
        say()
        points = [*dict.fromkeys(n for d in ranked.values() for n in d.at)]
        rows = [
            [label, *(_cell(e.value) for e in (d.mean_sensitivity, *d.at.values()) if e is not None)]
            for label, d in ranked.items()
        ]
        table(rows, ["sensitivity per lesion", "mean", *(f"at {n:g}" for n in points)])
        say("at: false positives per scan; mean: of the seven (LUNA16)")
    for label, d in found.detection.items():
        if d.lesions:
            say(
                f"{label}: the masks find {d.found} of {counted(d.lesions, 'lesion')} with"
                f" {alarms_per_scan(d.false_positives_per_scan)}.{f' One operating point only: {d.why}' if d.why else _told(d)}"
            )


def _told(detection: Detection) -> str:
    """Say what is ranked, by what, and where the curve ends."""
    from striate.cli.train import alarms_per_scan
    from striate.measure.detection import LARGEST

    own, largest = "their probability of being real", "the largest probability of their voxels"
    by = largest if detection.ranked_by == LARGEST else own
    count, rate = detection.candidates, detection.most_false_positives_per_scan
    if count is None or rate is None:
        return f" Ranked by {by}; the curve ends there (striate predict --save-probabilities goes beyond)."
    return (
        f" {counted(count, 'candidate')}, with those that the masks leave out, {is_or_are(count)} ranked by {by}:"
        f" {'it holds' if count == 1 else 'they hold'} {detection.most_found} of the lesions, with {alarms_per_scan(rate)}."
    )


def _show_summary(found: Evaluation, head: list[str], subjects: int) -> None:
    from striate.cli.screen import say, table

    say()
    rows: list[list[str]] = []
    for label, row in found.summary.items():
        rows.append([label, "mean", *(_cell(row[m].mean) for m in HEADS)])
        rows.append(["", "median", *(_cell(row[m].median) for m in HEADS)])
        if subjects > 1:
            rows.append(["", "95 %", *(_interval(row[m].low, row[m].high) for m in HEADS)])
        if any(row[m].n != len(found.cases) for m in HEADS):
            rows.append(["", "cases", *(str(row[m].n) for m in HEADS)])
    table(rows, [f"{len(found.cases)} cases", "", *head])


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{_cell(low)} … {_cell(high)}"
