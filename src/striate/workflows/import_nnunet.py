"""`import_nnunet`: the results folder of nnU-Net v2 → a model of Striate with the same weights."""

from __future__ import annotations

from pathlib import Path

from striate.core.errors import ModelError, expected
from striate.core.files import filling, hash_file
from striate.core.progress import Progress, Silent
from striate.io.nnunet_results import NnunetResults
from striate.model.model import Model
from striate.model.nnunet_weights import read_checkpoint, translate
from striate.model.weights import SNAPSHOTS, load_weights, save_weights
from striate.planning.nnunet_plan import axes_of, network_axes, nnunet_plan


def import_nnunet(
    results: Path | str, out: Path | str, *, fold: str = "all", progress: Progress | None = None
) -> Model:
    """Write a model with the plan and weights of a training by nnU-Net v2; whole or not at all.

    Parameters
    ----------
    results
        Folder ``TRAINER__PLANS__CONFIGURATION``, or the dataset's folder where it holds only one of these.
    out
        New folder of the model. Folds after the first become ``snapshots/fold_N.safetensors``: ``--exact`` and
        ``--uncertainty ensemble`` average all of them, other predictions use the first alone.
    fold
        One fold, or ``all``.
    progress
        Who listens; by default nobody.

    Raises
    ------
    FormatError
        When the folder is none of nnU-Net v2.
    UsageError
        When the fold is not there.
    ModelError
        When the plans or weights cannot be followed exactly, or a checkpoint is broken or holds foreign classes.
    """
    progress, found = progress or Silent(), NnunetResults.open(results, fold)
    names = list(found.checkpoints)
    mirrored: tuple[int, ...] | None = None
    with filling(Path(out)) as beside, progress.bar("import", len(names)) as bar:
        for done, (name, path) in enumerate(found.checkpoints.items()):
            checkpoint = read_checkpoint(path)
            trainer = str(checkpoint.get("trainer_name", "nnUNetTrainer"))
            axes = _mirror_axes(checkpoint.get("inference_allowed_mirroring_axes"), path)
            if not done:
                mirrored, plan = axes, nnunet_plan(found, axes)
            elif axes != mirrored:
                raise ModelError(
                    expected(path, f"it may be mirrored along axes {axes}", f"fold {names[0]} along {mirrored},"
                             " so the folds are of different trainings", "Give one with --fold."), path=path,
                )  # fmt: skip
            weights = translate(checkpoint["network_weights"], plan.network.name, network_axes(found), path)
            if not done:
                facts = {
                    "source": f"nnU-Net v2, {found.folder.name}", "folds": names,
                    "nnunet": {
                        "trainer": trainer, "configuration": found.configuration, "axes": axes_of(found),
                        "dataset": str(found.plans.get("dataset_name", "")),
                        "regions_class_order": found.dataset.get("regions_class_order") if plan.task.regions else None,
                        "checkpoints_sha256": {n: hash_file(p) for n, p in found.checkpoints.items()},
                    },
                }  # fmt: skip
                model = Model.save(beside, plan, weights, facts)
                model.network()  # refuses what does not fit
            else:
                target = beside / SNAPSHOTS / f"fold_{name}.safetensors"
                target.parent.mkdir(exist_ok=True)
                save_weights(target, weights)
                load_weights(target, model.network())
            bar.update(done + 1, case=f"fold {name}")
    return Model.open(out)


def _mirror_axes(value: object, path: Path) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and all(isinstance(a, int) and 0 <= a < 3 for a in value):
        return tuple(value)
    raise ModelError(
        expected(path, f"inference_allowed_mirroring_axes is {value!r}", "axes of the image are needed"), path=path
    )
