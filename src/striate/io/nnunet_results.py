"""The folder of a training by nnU-Net v2: its plans, its dataset and where its checkpoints lie. No weights are read here.

Layout (F. Isensee et al., Nat Methods 18:203, 2021; documentation of nnU-Net v2): ``TRAINER__PLANS__CONFIGURATION`` holds
``plans.json``, ``dataset.json`` and a folder ``fold_0`` … ``fold_4`` or ``fold_all`` each with ``checkpoint_final.pth``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from striate.core.errors import FormatError, UsageError, expected
from striate.core.files import read_json

CHECKPOINT = "checkpoint_final.pth"
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
        Name of the configuration, such as ``3d_fullres``, from the folder's name.
    checkpoints
        Name of the fold (``0`` … or ``all``) → its checkpoint, in rising order.
    """

    folder: Path
    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    configuration: str
    checkpoints: Mapping[str, Path]

    @classmethod
    def open(cls, folder: Path | str, fold: str = "all") -> NnunetResults:
        """Open a results folder, or the one results folder inside a dataset's.

        Parameters
        ----------
        folder
            ``nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION``, or a folder above it that holds no other.
        fold
            One fold, such as ``0``; ``all`` means each fold that is there.

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
        found = {path.name.removeprefix("fold_"): path / CHECKPOINT for path in sorted(folder.glob("fold_*"))}
        there = {name: path for name, path in found.items() if path.is_file()}
        if not there:
            raise FormatError(
                expected(folder, f"no fold has {CHECKPOINT} (folds: {', '.join(found) or 'none'})", LAYOUT,
                         "Finish its training first."), path=folder,
            )  # fmt: skip
        if fold == "all":
            chosen = {name: path for name, path in there.items() if name != "all"} or there
        elif fold in there:
            chosen = {fold: there[fold]}
        else:
            raise UsageError(
                expected(f"--fold {fold}", f"{folder} has no fold_{fold}/{CHECKPOINT}",
                         f"one of {', '.join(there)}, or all, is needed")
            )  # fmt: skip
        plans, dataset = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
        configuration = folder.name.split("__")[-1]
        known = plans.get("configurations")
        if not isinstance(known, dict) or configuration not in known:
            names = ", ".join(known) if isinstance(known, dict) else "none"
            raise FormatError(
                expected(folder, f"its name ends in '{configuration}', a configuration that plans.json has not ({names})",
                         "the folder's name as nnU-Net gave it, TRAINER__PLANS__CONFIGURATION, is needed"), path=folder,
            )  # fmt: skip
        return cls(folder, plans, dataset, configuration, chosen)

    def previous(self, fold: str = "all") -> NnunetResults | None:
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
        found = NnunetResults.open(folder, fold)
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


def _find(folder: Path) -> Path:
    """Return the folder that has ``plans.json``; refuse those of nnU-Net v1."""
    if folder.is_file():
        raise FormatError(expected(folder, "a file", f"its training's folder is needed: {LAYOUT}"), path=folder)
    if not folder.is_dir():
        raise FormatError(expected(folder, "there is no such folder", LAYOUT), path=folder)
    if (folder / "plans.json").is_file():
        return folder
    inside = sorted(path.parent for pattern in ("*/plans.json", "*/*/plans.json") for path in folder.glob(pattern))
    if len(inside) == 1:
        return inside[0]
    if inside:
        names = ", ".join(str(path.relative_to(folder)) for path in inside)
        raise FormatError(
            expected(folder, f"several results: {names}", "one is needed", "Give its folder."), path=folder
        )
    if any(any(folder.glob(f"{'*/' * depth}{name}")) for depth in range(5) for name in FIRST_VERSION):
        raise FormatError(
            expected(folder, "a results folder of nnU-Net v1 (plans.pkl), which can only be read by running pickled code",
                     "one of nnU-Net v2 is needed", "Train the dataset again with nnU-Net v2."), path=folder,
        )  # fmt: skip
    above = folder.resolve().parent
    hint = f"Give the folder above it: {above}" if (above / "plans.json").is_file() else ""
    raise FormatError(expected(folder, "plans.json is missing", LAYOUT, hint), path=folder)
