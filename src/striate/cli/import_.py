"""``striate import nnunet RESULTS --out MODEL``: a model trained elsewhere becomes one of Striate."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from striate.cli.options import AsJson

KINDS = {"nnunet": "a results folder of nnU-Net v2"}


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What it is: nnunet.")],
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", help="Folder TRAINER__PLANS__CONFIGURATION with plans.json, dataset.json and fold_0 …"
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the model.")],
    fold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLD",
            help="0 or 0,1,2; repeatable. all: fold_all where there is one, else every numbered fold.",
            show_default="every numbered fold that is finished, else fold_all",
        ),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="final, best, latest, or the name of a file in each fold.")] = "final",
    as_json: AsJson = False,
) -> int:
    """Turn a model that nnU-Net trained into one of Striate; no pickled code is run."""
    from striate.cli.screen import Screen, say, show_json
    from striate.core.names import lookup
    from striate.workflows.import_nnunet import import_nnunet

    lookup("kind", kind, KINDS)
    model = import_nnunet(results, out, fold=fold or (), checkpoint=checkpoint, progress=Screen(quiet=as_json))
    folds, task, first = list(model.facts["folds"]), model.plan.task, model.previous
    if as_json:
        show_json({
            "out": out, "source": model.facts["source"], "folds": folds, "network": model.plan.network.name,
            "parameters": model.facts["parameters"], "channels": task.channels, "targets": model.plan.targets.names,
            **({"first_stage": first.facts["source"]} if first else {}),
        })  # fmt: skip
        return 0
    say(f"{model.facts['source']}: {model.plan.network.name}, {model.facts['parameters']:,} parameters")
    say(
        f"channels {', '.join(task.channels)}; predicts {', '.join(model.plan.targets.names)}; folds {', '.join(folds)}"
    )
    if first is not None:
        say(
            f"cascade: sees the mask of {first.facts['source']}, {first.facts['parameters']:,} parameters, in previous/"
        )
    if len(folds) > 1:
        say(f"Fold {folds[0]} predicts alone; --exact and --uncertainty ensemble average all.")
    say(
        f"Use it: striate predict {quote(str(out))} INPUT --out MASKS; with --exact the masks are those of nnU-Net on a processor"
        " (-device cpu); on CUDA it computes in half precision"
    )
    return 0
