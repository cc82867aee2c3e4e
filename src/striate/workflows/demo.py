"""`demo`: nothing → phantoms → check → plan → train → predict → evaluate → report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from striate.core.errors import DataError, expected
from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent
from striate.measure.evaluation import Evaluation
from striate.measure.lesions import LesionRule
from striate.workflows.check import check
from striate.workflows.evaluate import evaluate_masks
from striate.workflows.phantom import phantom
from striate.workflows.predict import predict
from striate.workflows.report import report
from striate.workflows.train import train

BUDGET = "4m"
HELD_OUT = 3


@dataclass(frozen=True)
class Demonstrated:
    """What the demo ends with.

    Attributes
    ----------
    cohort, run, predictions
        Folders of the phantoms, the training run, and the predictions on held-out phantoms.
    evaluation
        Measures on phantoms that training never saw.
    report, prediction_report
        The HTML pages.
    """

    cohort: Path
    run: Path
    predictions: Path
    evaluation: Evaluation
    report: Path
    prediction_report: Path


@kinds
def demo(
    out: Path | str = "demo",
    *,
    subjects: int = 12,
    budget: str = BUDGET,
    seed: int = 0,
    progress: Progress | None = None,
) -> Demonstrated:
    """Run the whole path on phantoms.

    Parameters
    ----------
    out
        Folder to be made.
    subjects
        Phantoms in all; three more are made to judge the model.
    budget
        Time for training.
    seed
        Seed of everything that is drawn.
    progress
        Who listens; by default nobody.

    Raises
    ------
    DataError
        When `out` exists and is not empty.
    """
    progress, folder = progress or Silent(), Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise DataError(
            expected(
                folder, "it exists and is not empty", "the demo needs a folder of its own", "Choose another --out."
            )
        )
    progress.note(f"1 phantom: {subjects} subjects to learn from, {HELD_OUT} others to judge by")
    learned_from = phantom(folder / "cohort", subjects=subjects, seed=seed, progress=progress)
    judged_by = phantom(folder / "unseen", subjects=HELD_OUT, seed=seed + 1, progress=progress)
    progress.note("2 check")
    for problem in check(learned_from, progress=progress).problems:
        progress.note(f"  {problem.sentence}")
    progress.note(f"3 plan and 4 train, {budget}")
    finished = train(learned_from, out=folder / "run", progress=progress, budget=budget, seed=seed)
    progress.note("5 predict the unseen")
    predict(finished.folder, [judged_by], folder / "predictions", progress=progress)
    progress.note(f"6 evaluate {HELD_OUT} predictions, 7 report")
    evaluation = evaluate_masks(folder / "predictions", judged_by, None, LesionRule(), 0, progress)
    evaluation.write(folder / "predictions" / "evaluation.json")
    page = report(folder / "predictions")
    return Demonstrated(
        folder / "cohort", finished.folder, folder / "predictions", evaluation, Path(str(finished.report)), page
    )
