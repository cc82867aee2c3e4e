"""``striate update RUN COHORT --out NEW``: learn more, show what was learned and forgotten; exit 1 where nothing can be kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli import options
from striate.core.counted import counted

if TYPE_CHECKING:
    from striate.measure.forgetting import Forgetting
    from striate.workflows.update import Updated


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run; it is left as it is.")],
    cohort: Annotated[
        Path, typer.Argument(metavar="COHORT", help="New cases with masks, of the run's channels and labels.")
    ],
    out: Annotated[Path, typer.Option(metavar="NEW", help="Folder of the new run.")],
    budget: options.Budget = None,
    steps: options.Steps = None,
    memory: options.Memory = None,
    holdout: Annotated[
        list[str] | None,
        typer.Option(metavar="SUBJECT", help="New subject or case kept to judge what was learned; repeatable."),
    ] = None,
    fold: Annotated[str | None, typer.Option(metavar="K/N", help="Judge on part K of N of the new subjects.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    tolerance: Annotated[
        float, typer.Option(help="By how much mean Dice on the earlier cohort's held-out subjects may fall.")
    ] = 0.02,
    earlier: Annotated[
        Path | None, typer.Option(metavar="COHORT", help="The cohort of RUN, where it is not where it was.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say who would teach and judge, and how long it takes.")
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Let a model learn from a further cohort, and measure what it forgets."""
    from striate.cli.screen import Screen, show_json
    from striate.workflows.update import update

    found = update(
        run, cohort, out, budget=budget, steps=steps, memory=memory, holdout=holdout, fold=fold, seed=seed,
        tolerance=tolerance, earlier=earlier, dry_run=dry_run, progress=Screen(quiet=as_json),
    )  # fmt: skip
    if as_json:
        show_json(_document(found))
    elif found.forgetting is None:
        _show_foreseen(found.foreseen)
    else:
        _show(found, found.forgetting)
    return 0 if found.forgetting is None or found.forgetting.kept else 1


def _document(found: Updated) -> dict[str, Any]:
    if found.finished is None or found.forgetting is None:
        return {"out": found.folder, "foreseen": found.foreseen}
    evaluation = found.finished.evaluation
    return {
        "run": found.folder, "model": found.folder / "model", "report": found.finished.report, "steps": found.finished.steps,
        **found.foreseen, "chosen": found.forgetting.facts(), "points": found.forgetting.points(),
        "evaluation": evaluation and evaluation.to_dict(),
    }  # fmt: skip


def _show_foreseen(foreseen: dict[str, Any]) -> None:
    from striate.cli.screen import say, table
    from striate.core.machine import show_seconds

    n = foreseen["subjects"]
    rows = [[name, str(n[f"{name}_train"]), str(n[f"{name}_validation"])] for name in ("earlier", "new")]
    table(rows, ["subjects", "teach", "judge"])
    told = counted(n["earlier_train"], "subject")
    say(
        f"Half of the patches would rehearse {told} of the earlier cohort."
        if foreseen["rehearsal"]
        else "Nothing is rehearsed."
    )
    say(f"Largest learning rate: {foreseen['learning_rate']:g}")
    say(f"Time: {'not known' if foreseen['seconds'] is None else show_seconds(foreseen['seconds'])}")


def _show(found: Updated, forgetting: Forgetting) -> None:
    from striate.cli.screen import say, table
    from striate.cli.train import show_finished

    rows = []
    for row in forgetting.rows:
        means = [forgetting.summary(row, side).mean for side in ("earlier", "new")]
        mark = "taken" if row.share == forgetting.share else ""
        rows.append([f"{row.share:.3g}", *("–" if mean is None else f"{mean:.3f}" for mean in means), mark])
    table(rows, ["share of the update", "Dice earlier", "Dice new", ""])
    if forgetting.earlier:
        say("The choice was made on these very subjects, so the numbers of what was taken are slightly optimistic.")
    if found.finished is not None:
        show_finished(found.finished, as_json=False)
