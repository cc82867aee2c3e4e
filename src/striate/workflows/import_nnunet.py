"""`import_nnunet`: the results folder of nnU-Net v2 → a model of Striate with the same weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from striate.core.errors import ModelError, PlanError, expected
from striate.core.files import filling, hash_file
from striate.core.progress import Progress, Silent
from striate.io.nnunet_results import NnunetResults
from striate.model.model import PREVIOUS, Model
from striate.model.nnunet_weights import norm_of, read_checkpoint, translate
from striate.model.weights import SNAPSHOTS, load_weights, save_weights
from striate.planning.nnunet_plan import axes_of, network_axes, nnunet_plan, odd_regions
from striate.planning.plan import Plan


def import_nnunet(
    results: Path | str,
    out: Path | str,
    *,
    fold: str | Sequence[str] = (),
    checkpoint: str = "final",
    progress: Progress | None = None,
) -> Model:
    """Write a model with the plan and weights of a training by nnU-Net v2; whole or not at all.

    Parameters
    ----------
    results
        Folder ``TRAINER__PLANS__CONFIGURATION``, or the dataset's folder where it holds only one of these. Of a folder with
        another name the checkpoint says the configuration. Beside the second stage of a cascade, ``3d_cascade_fullres``, the
        results of the first are needed.
    out
        New folder of the model. Folds after the first become ``snapshots/fold_N.safetensors``: ``--exact`` and
        ``--uncertainty ensemble`` average all of them, other predictions use the first alone. The first stage of a cascade
        becomes the model in ``previous/``.
    fold
        ``0`` or ``0,1,2`` or several of these (of both stages of a cascade). ``all`` is ``fold_all`` where it is there, as in
        nnU-Net, else each numbered fold. By default each numbered fold that has the checkpoint, else ``fold_all``.
    checkpoint
        ``final``, ``best``, ``latest``, or the name of a file in each fold.
    progress
        Who listens; by default nobody.

    Raises
    ------
    FormatError
        When the folder is none of nnU-Net v2, or the first stage of a cascade is not beside it.
    UsageError
        When the fold is not there.
    ModelError
        When the plans or weights cannot be followed exactly, a checkpoint is broken or holds foreign classes, or the stages of
        a cascade see or draw different things.
    """
    progress, found = progress or Silent(), NnunetResults.open(results, fold, checkpoint)
    if not found.configuration:
        path = next(iter(found.checkpoints.values()))
        found = found.named((read_checkpoint(path).get("init_args") or {}).get("configuration"))
    first = found.previous(fold, checkpoint)
    for stage in (found, first) if first else (found,):
        for text in stage.notes:
            progress.note(f"{stage.configuration}: {text}")
    with (
        filling(Path(out)) as beside,
        progress.bar("import", len(found.checkpoints) + len(first.checkpoints if first else ())) as bar,
    ):
        _write(found, beside, lambda done, name: bar.update(done, case=name))
        if first is not None:
            before = len(found.checkpoints)
            _write(first, beside / PREVIOUS, lambda done, name: bar.update(before + done, case=name))
        plan = Model.open(beside).plan  # refuses stages that do not belong together
    for text in odd_regions(plan):
        progress.warn(text)
    return Model.open(out)


def _write(found: NnunetResults, folder: Path, tell: Callable[[int, str], None]) -> None:
    """Write the model of one configuration into `folder`; `tell` gets how many folds are done, and which."""
    names, model = list(found.checkpoints), None
    mirrored: tuple[int, ...] | None = None
    for done, (name, path) in enumerate(found.checkpoints.items(), start=1):
        checkpoint = read_checkpoint(path)
        axes = _mirror_axes(checkpoint.get("inference_allowed_mirroring_axes"), path)
        if model is None:
            mirrored, plan = axes, nnunet_plan(found, axes, norm_of(checkpoint["network_weights"]))
        elif axes != mirrored:
            raise ModelError(
                expected(path, f"it may be mirrored along axes {axes}", f"fold {names[0]} along {mirrored},"
                         " so the folds are of different trainings", "Give one with --fold."), path=path,
            )  # fmt: skip
        weights = translate(checkpoint["network_weights"], plan.network.name, network_axes(found), path)
        if model is None:
            trainer = str(checkpoint.get("trainer_name", "nnUNetTrainer"))
            model = Model.save(folder, plan, weights, _facts(found, plan, trainer))
            with _fitting(path):
                model.network()
        else:
            target = folder / SNAPSHOTS / f"fold_{name}.safetensors"
            target.parent.mkdir(exist_ok=True)
            save_weights(target, weights)
            with _fitting(path):
                load_weights(target, model.network())
        tell(done, f"{found.configuration}, fold {name}")


@contextlib.contextmanager
def _fitting(path: Path) -> Iterator[None]:
    """Say of weights that do not fit the network which checkpoint they came from."""
    try:
        yield
    except PlanError:
        raise
    except ModelError as error:
        problem = str(error).removeprefix(f"{error.path}: ").split(". ")[0].replace("plan.yaml", "plans.json")
        raise ModelError(
            expected(path, f"its weights are not those of plans.json and dataset.json ({problem})",
                     "the files of one training are needed", "Copy its whole folder again."), path=path,
        ) from error  # fmt: skip


def _facts(found: NnunetResults, plan: Plan, trainer: str) -> dict[str, Any]:
    """Return what is kept of the training."""
    return {
        "source": f"nnU-Net v2, {found.folder.name}", "folds": list(found.checkpoints),
        "nnunet": {
            "trainer": trainer, "configuration": found.configuration, "axes": axes_of(found),
            "checkpoint": next(iter(found.checkpoints.values())).name,
            "dataset": str(found.plans.get("dataset_name", "")),
            "regions_class_order": found.dataset.get("regions_class_order") if plan.task.regions else None,
            "checkpoints_sha256": {n: hash_file(p) for n, p in found.checkpoints.items()},
        },
    }  # fmt: skip


def _mirror_axes(value: object, path: Path) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and all(isinstance(a, int) and 0 <= a < 3 for a in value):
        return tuple(value)
    raise ModelError(
        expected(path, f"inference_allowed_mirroring_axes is {value!r}", "axes of the image are needed"), path=path
    )
