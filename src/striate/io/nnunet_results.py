"""The folder of a training by nnU-Net v2: its plans, its dataset and where its checkpoints lie. No weights are read here.

Layout (F. Isensee et al., Nat Methods 18:203, 2021; documentation of nnU-Net v2): ``TRAINER__PLANS__CONFIGURATION`` holds
``plans.json``, ``dataset.json`` and a folder ``fold_0`` … ``fold_4`` or ``fold_all`` (trained on all cases), each with
``checkpoint_final.pth``. ``nnUNetv2_find_best_configuration`` adds ``crossval_results_…`` in it and ``ensembles`` beside it, with
plans of their own and no folds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from striate.core.errors import FormatError, UsageError, expected
from striate.core.files import read_json

CHECKPOINTS = {name: f"checkpoint_{name}.pth" for name in ("final", "best", "latest")}
"""Word → the file that nnU-Net writes; ``latest`` is there until a training ends."""
ALL = "all"
FOLD = re.compile(r"fold_(\d+|all)")
POSTPROCESSING = "postprocessing.pkl"
FIRST_VERSION = ("plans.pkl", "model_final_checkpoint.model")
"""Files that nnU-Net v1 writes and v2 does not."""
LAYOUT = "plans.json, dataset.json and fold_0/checkpoint_final.pth are needed, as nnU-Net v2 writes them"


@dataclass(frozen=True, slots=True)
class NnunetResults:
    """What a training by nnU-Net v2 left behind.

    Attributes
    ----------
    folder
        Where it lies.
    plans, dataset
        ``plans.json`` and ``dataset.json``.
    configuration
        Name of the configuration, such as ``3d_fullres``, from the folder's name; empty where that names none.
    checkpoints
        Name of the fold (``0`` … or ``all``) → its checkpoint, in rising order.
    notes
        Sentences on what is there and was not taken.
    """

    folder: Path
    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    configuration: str
    checkpoints: Mapping[str, Path]
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: Path | str, fold: str | Sequence[str] = (), checkpoint: str = "final") -> NnunetResults:
        """Open a results folder, or the one results folder inside a dataset's.

        Parameters
        ----------
        folder
            ``nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION``, or a folder above it that holds no other.
        fold
            ``0`` or ``0,1,2`` or several of these. ``all`` means ``fold_all`` where it is there, as in nnU-Net, else each
            numbered fold. By default each numbered fold that has the checkpoint, else ``fold_all``.
        checkpoint
            ``final``, ``best``, ``latest``, or the name of a file in each fold.

        Raises
        ------
        FormatError
            When it is none, or one of nnU-Net v1, or a file is missing or broken.
        UsageError
            When the fold is not there.
        """
        folder = _find(Path(folder))
        if not folder.name.strip("."):  # "." and ".." have no name that ends in a configuration
            folder = folder.resolve()
        chosen, notes = _chosen(folder, fold, checkpoint)
        plans, dataset = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
        configuration = folder.name.split("__")[-1]
        if not isinstance(plans.get("configurations"), dict):
            raise FormatError(
                expected(folder / "plans.json", "it has no configurations", "plans of nnU-Net v2 are needed"),
                path=folder,
            )
        known = configuration in plans["configurations"]
        return cls(folder, plans, dataset, configuration if known else "", chosen, notes)

    def named(self, configuration: object) -> NnunetResults:
        """Return the same results of a `configuration` that the checkpoint names, for a folder whose name says none.

        Raises
        ------
        FormatError
            When the plans have no such configuration.
        """
        known = self.plans["configurations"]
        if not isinstance(configuration, str) or configuration not in known:
            said = f"its checkpoint's is {configuration!r}" if configuration else "its checkpoint names none"
            raise FormatError(
                expected(self.folder, f"its name does not end in a configuration of plans.json ({', '.join(known)}), and {said}",
                         "the folder's name as nnU-Net gave it, TRAINER__PLANS__CONFIGURATION, is needed"), path=self.folder,
            )  # fmt: skip
        return replace(self, configuration=configuration)

    def previous(self, fold: str | Sequence[str] = (), checkpoint: str = "final") -> NnunetResults | None:
        """Open the first stage of a cascade, whose results lie beside these; None where this is no second stage.

        Raises
        ------
        FormatError, UsageError
            As of `open`; which folder is needed is said.
        """
        name = self.settings.get("previous_stage")
        if not name:
            return None
        folder = self.folder.absolute().with_name("__".join([*self.folder.absolute().name.split("__")[:-1], str(name)]))
        if not folder.is_dir():
            raise FormatError(
                expected(self.folder, f"configuration {self.configuration} also sees the masks of {name}, and {folder} is not"
                         " there", "the results of both stages are needed, side by side as nnU-Net puts them",
                         f"Copy {folder.name} beside it, or import 3d_fullres instead."), path=folder,
            )  # fmt: skip
        found = NnunetResults.open(folder, fold, checkpoint)
        if found.settings.get("previous_stage"):
            raise FormatError(
                expected(folder, f"configuration {name} has a previous stage itself", "a cascade of two stages is needed"),
                path=folder,
            )  # fmt: skip
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration with what it inherits from others.

        Raises
        ------
        FormatError
            When it inherits from one that is missing, or from itself.
        """
        merged: dict[str, Any] = {}
        name, seen = self.configuration, list[str]()
        while name:
            part = self.plans["configurations"].get(name)
            if not isinstance(part, dict) or name in seen:
                raise FormatError(
                    expected(self.folder / "plans.json", f"configuration '{name}' is missing or inherits from itself",
                             "the plans of the training are needed"), path=self.folder,
                )  # fmt: skip
            seen.append(name)
            merged = {**part, **merged}
            name = str(part.get("inherits_from") or "")
        return merged


def _folds(folder: Path) -> dict[str, Path]:
    """Return name → folder of the folds in `folder`, the numbered ones in rising order, then ``all``; copies are none."""
    found = {m[1]: path for path in folder.glob("fold_*") if (m := FOLD.fullmatch(path.name)) and path.is_dir()}
    return {name: found[name] for name in sorted(found, key=lambda n: (n == ALL, int(n) if n != ALL else 0))}


def _chosen(folder: Path, fold: str | Sequence[str], checkpoint: str) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return name → checkpoint of the folds that are asked for, and what else is there, in sentences."""
    file = CHECKPOINTS.get(checkpoint, checkpoint)
    if Path(file).name != file:
        raise UsageError(
            f"--checkpoint {checkpoint}: one of {', '.join(CHECKPOINTS)}, or the name of a file, is needed."
        )
    folds = _folds(folder)
    there = {name: path / file for name, path in folds.items() if (path / file).is_file()}
    lacking = [f"fold {name} ({_files(folds[name])})" for name in folds if name not in there]
    if not there:
        above = folder.resolve().parent
        hint = f"Give the folder above it: {above}" if _folds(above) else "Finish its training first."
        others = sorted({path.name for each in folds.values() for path in each.glob("*.pth")})
        words = [next((word for word, name in CHECKPOINTS.items() if name == other), other) for other in others]
        hint = f"Take another with --checkpoint {' or '.join(words)}." if words else hint
        raise FormatError(
            expected(folder, f"no fold has {file} (there are {', '.join(lacking) or 'no folds'})", LAYOUT, hint),
            path=folder,
        )
    numbered = [name for name in there if name != ALL]
    given = " ".join([fold] if isinstance(fold, str) else map(str, fold)).replace(",", " ").split()
    asked = [name.removeprefix("fold_") for name in given]
    for name in asked:
        if name != ALL and name not in there:
            got = f"{folder} has no fold_{name}/{file}" + (f"; it has {_files(folds[name])}" if name in folds else "")
            raise UsageError(expected(f"--fold {name}", got, f"some of {', '.join(numbered) or ALL} are needed"))
    notes = [f"{text} left out: no {file}" for text in lacking] if not asked else []
    if not asked:
        names = numbered or [ALL]
        if ALL in there and numbered:
            notes.append(
                f"fold_all (trained on all cases) left out; --fold all takes it instead of {', '.join(numbered)}"
            )
    elif ALL in asked and ALL not in there:
        names = numbered
        notes.append(f"--fold all: there is no fold_all/{file}, so each numbered fold is taken: {', '.join(numbered)}")
    else:
        names = [name for name in there if name in asked]
        if ALL in asked:
            notes.append("--fold all: fold_all is taken, the training on all cases")
    pickles = [
        path for path in (folder / POSTPROCESSING, *sorted(folder.glob(f"*/{POSTPROCESSING}"))) if path.is_file()
    ]
    if pickles:
        where = pickles[0].relative_to(folder)
        notes.append(f"nnU-Net's postprocessing ({where}) is not applied: it is a pickle, which is not opened")
    return {name: there[name] for name in names}, tuple(notes)


def _files(fold: Path) -> str:
    return ", ".join(sorted(path.name for path in fold.glob("*.pth"))) or "no checkpoint"


def _find(folder: Path) -> Path:
    """Return the folder that has ``plans.json``; refuse those of nnU-Net v1."""
    if folder.is_file():
        raise FormatError(expected(folder, "a file", f"its training's folder is needed: {LAYOUT}"), path=folder)
    if not folder.is_dir():
        raise FormatError(expected(folder, "there is no such folder", LAYOUT), path=folder)
    if (folder / "plans.json").is_file() and _folds(folder):
        return folder
    planned = sorted(path.parent for pattern in ("*/plans.json", "*/*/plans.json") for path in folder.glob(pattern))
    inside = [path for path in planned if _folds(path)]
    inside = [path for path in inside if not any(other in path.parents for other in inside)]
    if len(inside) == 1:
        return inside[0]
    if inside:
        names = ", ".join(str(path.relative_to(folder)) for path in inside)
        raise FormatError(
            expected(folder, f"several results: {names}", "one is needed", "Give its folder."), path=folder
        )
    if (folder / "plans.json").is_file():
        return folder  # which has no folds, as is said then
    if any(any(folder.glob(f"{'*/' * depth}{name}")) for depth in range(5) for name in FIRST_VERSION):
        raise FormatError(
            expected(folder, "a results folder of nnU-Net v1 (plans.pkl), which can only be read by running pickled code",
                     "one of nnU-Net v2 is needed", "Train the dataset again with nnU-Net v2."), path=folder,
        )  # fmt: skip
    above = folder.resolve().parent
    hint = f"Give the folder above it: {above}" if (above / "plans.json").is_file() else ""
    raise FormatError(expected(folder, "plans.json is missing", LAYOUT, hint), path=folder)
