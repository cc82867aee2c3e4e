"""Which folds and checkpoints of a results folder are taken, and what is said of the others; no weights are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from striate.core.errors import FormatError, UsageError
from striate.io.nnunet_results import NnunetResults

NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"


def results(folder: Path, *files: str, name: str = NAME) -> Path:
    """Write a results folder with empty `files`."""
    found = folder / name
    for file in files:
        (found / file).parent.mkdir(parents=True, exist_ok=True)
        (found / file).touch()
    described(found)
    return found


def described(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps({"configurations": {"3d_fullres": {}}}))
    (folder / "dataset.json").write_text("{}")


def finals(*folds: str) -> list[str]:
    return [f"fold_{fold}/checkpoint_final.pth" for fold in folds]


@pytest.mark.parametrize(
    ("there", "fold", "taken", "said"),
    [
        ("0 1 10 2", (), "0 1 2 10", ""),
        ("0 1 all", (), "0 1", "fold_all (trained on all cases) left out; --fold all takes it instead of 0, 1"),
        ("0 1 all", "all", "all", "--fold all: fold_all is taken, the training on all cases"),
        ("0 1", "all", "0 1", "--fold all: there is no fold_all/checkpoint_final.pth, so each numbered fold is taken: 0, 1"),
        ("all", (), "all", ""),
        ("0 1 2", "0,2", "0 2", ""),
        ("0 1 2", ["2", "fold_0"], "0 2", ""),
        ("0 0_old 1.bak", (), "0", ""),
    ],
)  # fmt: skip
def test_folds_mean_what_nnunet_means(there: str, fold: str | list[str], taken: str, said: str, tmp_path: Path) -> None:
    found = NnunetResults.open(results(tmp_path, *finals(*there.split())), fold)
    assert list(found.checkpoints) == taken.split()
    assert list(found.notes) == ([said] if said else [])


def test_a_fold_that_is_not_finished_is_named(tmp_path: Path) -> None:
    folder = results(tmp_path, *finals("0"), "fold_0/checkpoint_best.pth", "fold_3/checkpoint_best.pth")
    found = NnunetResults.open(folder)
    assert list(found.checkpoints) == ["0"]
    assert found.notes == ("fold 3 (checkpoint_best.pth) left out: no checkpoint_final.pth",)
    assert list(NnunetResults.open(folder, checkpoint="best").checkpoints) == ["0", "3"]
    assert list(NnunetResults.open(folder, checkpoint="checkpoint_best.pth").checkpoints) == ["0", "3"]
    with pytest.raises(UsageError, match=r"--fold 3: .* no fold_3/checkpoint_final.pth; it has checkpoint_best.pth"):
        NnunetResults.open(folder, "3")
    with pytest.raises(UsageError, match=r"--fold 7: .* some of 0 are needed"):
        NnunetResults.open(folder, "7")
    with pytest.raises(
        FormatError,
        match=r"no fold has checkpoint_latest.pth \(there are fold 0 \(checkpoint_best.pth, .*--checkpoint best or final\.$",
    ):
        NnunetResults.open(folder, checkpoint="latest")
    with pytest.raises(UsageError, match=r"--checkpoint ../x"):
        NnunetResults.open(folder, checkpoint="../x")


def test_the_folder_after_find_best_configuration(tmp_path: Path) -> None:
    folder = results(tmp_path, *finals("0"))
    crossval, ensemble = folder / "crossval_results_folds_0_1_2_3_4", tmp_path / "ensembles" / "ensemble___a___b___0_1"
    described(crossval)
    described(ensemble)
    (crossval / "postprocessing.pkl").touch()
    described(tmp_path)
    found = NnunetResults.open(tmp_path)
    assert found.folder == folder
    (note,) = found.notes
    assert note.startswith(f"nnU-Net's postprocessing ({crossval.name}/postprocessing.pkl) is not applied")
    with pytest.raises(FormatError, match=f"no folds.*Give the folder above it: {folder}"):
        NnunetResults.open(crossval)
    results(tmp_path, *finals("0"), name=NAME.replace("nnUNetTrainer", "Other"))
    with pytest.raises(FormatError, match=f"several results: Other.*, {NAME}; one is needed"):
        NnunetResults.open(tmp_path)


def test_another_name_leaves_the_configuration_to_the_checkpoint(tmp_path: Path) -> None:
    found = NnunetResults.open(results(tmp_path, *finals("0"), name="our_model_v3"))
    assert found.configuration == ""
    assert found.named("3d_fullres").configuration == "3d_fullres"
    for said in (None, "2d"):
        with pytest.raises(FormatError, match="its checkpoint"):
            found.named(said)
