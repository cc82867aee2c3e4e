"""`exact` gives the masks of nnU-Net itself; the golden ones were made by nnUNetv2 2.8.1 on the processor, mirrored."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nnunet_folder import write_cascade, write_pictures, write_results

from striate import networks
from striate.cli.main import run
from striate.core.case import Case
from striate.core.errors import UsageError
from striate.core.image import Grid, Image
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.exact import gaussian, predict_exact, steps
from striate.inference.memory import needed_bytes
from striate.inference.predict import predict_case
from striate.io.write import write_image
from striate.model.model import Model
from striate.workflows.import_nnunet import import_nnunet
from striate.workflows.predict import predict

MASKS = json.loads((Path(__file__).parents[1] / "golden" / "nnunet_masks.json").read_text())
SHAPE = (20, 12, 9)
REGIONS = {
    "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3},
    "order": [1, 2, 3],
}
RESULTS = {
    "unet_3d": {"folds": ("0", "1")},
    "residual_3d": {},
    "unet_2d": {},
    "residual_2d": {},
    "unet_batch_3d": {"bias": -0.6},
    "residual_batch_2d": {},
    "unet_varied_3d": {},
    "picture": {"tag": "unet_2d", "spacing": [1.0, 1.0]},
    "picture_of_residuals": {"tag": "residual_2d"},
    "regions": {"tag": "unet_3d", **REGIONS},
    "cascade": {"tag": "unet_3d", "folds": ("0", "1"), "bias": -0.4},
    "cascade_of_slices": {"tag": "residual_3d", "bias": -0.25, "low_mm": (7.0, 1.3, 1.7), "spacing": [5.0, 1.0, 1.5]},
    "cascade_of_regions": {"tag": "unet_3d", **REGIONS, "masks": 3, "bias": 0.0},
}
"""Name → what `nnunet_folder` is told. Slices that are far apart are resampled by themselves."""


def write_named(folder: Path, name: str) -> Path:
    """Write the results that the golden masks of `name` were made from."""
    given = {"tag": name, **RESULTS[name]}
    kinds = {"cascade": write_cascade, "picture": write_pictures}
    return kinds.get(name.split("_")[0], write_results)(folder, **given)


def write_case(folder: Path, name: str = "") -> Case:
    """Write what the golden masks of `name` were made of: a body in zeros, and waves; or a picture, which has a hole too."""
    if name.startswith("picture"):
        return write_picture(folder)
    x, y, z = np.indices(SHAPE)
    ramp = ((x * 7 + y * 5 + z * 3) % 11).astype(np.float32)
    inside = (x - 9) ** 2 + (y - 6) ** 2 * 2 + (z - 4) ** 2 * 3 < 60
    waves = np.sin(x * 0.5) * np.cos(y * 0.7 + z * 0.3) * 20 + ramp
    paths = {}
    for name, array in {"FLAIR": np.where(inside, 5 + ramp, 0), "CT": waves}.items():
        paths[name] = folder / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(array.astype(np.float32), np.diag([-1.2, -1, 1.6, 1])), paths[name])
    return Case("a", "a", paths)


def write_picture(folder: Path) -> Case:
    """Write a picture in colours of a ring in black."""
    x, y = np.indices((40, 24))
    far = (x - 18) ** 2 + (y - 11) ** 2
    colours = np.stack([(x * 7 + y * 5) % 251, (x * y) % 199, 128 + 100 * np.sin(x * 0.5) * np.cos(y * 0.7)])
    write_image(folder / "a.png", Image(np.where((far > 9) & (far < 170), colours, 0).astype(np.uint8), np.eye(4)))
    return Case("a", "a", dict.fromkeys("RGB", folder / "a.png"))


@pytest.mark.parametrize("name", list(RESULTS))
def test_masks_are_those_of_nnunet(name: str, tmp_path: Path) -> None:
    model = import_nnunet(write_named(tmp_path, name), tmp_path / "model")
    found = predict_exact(model, write_case(tmp_path, name)).label.array
    expected = np.array(list(MASKS[name]), dtype=int).reshape(found.shape)
    assert len(np.unique(expected)) > 1
    assert int((found != expected).sum()) <= 2


NESTED = {"background": 0, "whole": [1, 2, 3, 4], "core": [2, 3, 4], "enhancing": [3, 4]}
APART = {"background": 0, "whole": [1, 2], "core": 3, "enhancing": 4}


@pytest.mark.parametrize(
    ("labels", "order"), [(NESTED, [1, 2, 4]), (NESTED, [2, 2, 4]), (APART, [7, 3, 4]), (APART, [3, 4, 4])]
)
def test_the_usual_way_paints_regions_in_nnunets_order_too(labels: dict, order: list[int], tmp_path: Path) -> None:
    model = import_nnunet(write_results(tmp_path, labels=labels, order=order), tmp_path / "model")
    rng, paths = np.random.default_rng(3), {}
    for name in ("FLAIR", "CT"):  # one window, no resampling, no copies: nothing is averaged
        paths[name] = tmp_path / f"{name}.nii.gz"
        image = rng.normal(10, 5, (16, 8, 4)).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.diag([-1.5, -1, 2, 1])), paths[name])
    case, engine = Case("a", "a", paths), TorchEngine(model.network(), False, "fp32")
    exact = predict_exact(model, case, mirror=False).label
    usual = predict_case(model, case, network=engine, observe=True)
    precise = (gaussian(model.plan.inference.patch) > 1e-2).numpy()  # in corners half precision rounds logits away
    np.testing.assert_array_equal(usual.label.array[precise], exact.array[precise])
    assert set(np.unique(exact.array)) == {0, *order}
    for name, values in model.plan.targets.sets.items():  # what is read back from the values is what was counted
        assert usual.observed.counts[name][1].sum() == np.isin(usual.label.array, values).sum()


def test_the_first_stage_of_a_cascade_paints_so_too(tmp_path: Path) -> None:
    results = write_cascade(tmp_path, labels=NESTED, order=[1, 2, 4], masks=4)
    model = import_nnunet(results, tmp_path / "model")
    assert model.previous.plan.task.region_values == model.plan.task.region_values == (1, 2, 4)
    assert model.plan.preparation.previous_labels == (1, 2, 3, 4)
    other = import_nnunet(write_cascade(tmp_path / "b", labels=APART, order=[7, 3, 4], masks=4), tmp_path / "other")
    assert other.plan.preparation.previous_labels == (1, 2, 3, 4)  # nnU-Net's network sees labels of the dataset only
    assert other.plan.targets.sets["whole"] == (1, 2, 7)


def test_windows_lie_and_weigh_as_nnunets() -> None:
    assert steps(110, 64, 0.5) == [0, 23, 46]  # the example of nnU-Net's documentation
    assert steps(5, 1, 0.5) == [0, 1, 2, 3, 4]
    weights = gaussian((16, 8))
    assert weights.max() == weights[8, 4] == 10
    assert weights.min() > 0


def test_only_models_of_nnunet_can_be_exact(tmp_path: Path) -> None:
    imported = import_nnunet(write_results(tmp_path), tmp_path / "model")
    with pytest.raises(UsageError, match="not imported"):
        predict_exact(Model(imported.folder, imported.plan, {}), write_case(tmp_path))


def test_a_plan_that_does_not_tell_the_values_of_regions_is_not_exact(tmp_path: Path) -> None:
    imported = import_nnunet(write_results(tmp_path, labels=NESTED, order=[1, 2, 4]), tmp_path / "model")
    older = imported.plan.changed(task=imported.plan.task.changed(region_values=None))
    with pytest.raises(UsageError, match="imported by an earlier Striate; import the results folder again"):
        predict_exact(Model(imported.folder, older, imported.facts), write_case(tmp_path))


def test_the_command_gives_the_same_masks_with_findings_and_record(tmp_path: Path, capsys) -> None:
    model = import_nnunet(write_results(tmp_path, "unet_3d", folds=("0", "1")), tmp_path / "model")
    files, out = [str(path) for path in write_case(tmp_path).channels.values()], tmp_path / "out"
    assert run(["predict", str(model.folder), *files, "--out", str(out), "--exact", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (case,) = document["cases"]
    found = np.asarray(nib.load(case["mask"]).dataobj).astype(int)
    expected = np.array(list(MASKS["unet_3d"]), dtype=int).reshape(SHAPE)
    assert int((found != expected).sum()) <= 2
    assert case["facts"]["engine"] == "torch, exact"
    assert case["facts"]["folds"] == 2
    assert set(case["facts"]["seconds"]) == {"prepare", "facts", "network", "judge", "hash", "write"}
    assert case["labels"]["edema"]["volume_ml"]["value"] == pytest.approx(int((found == 1).sum()) * 1.2 * 1.6 / 1000)
    record = json.loads((out / "record.json").read_text())
    assert record["options"]["exact"] is True
    assert [limit.split(":")[1].strip()[:7] for limit in record["facts"]["limits"]] == ["--exact"]
    assert len(list((out / "panels").iterdir())) == 1


def test_the_function_gives_what_the_stage_gives(tmp_path: Path) -> None:
    model, case = import_nnunet(write_results(tmp_path), tmp_path / "model"), write_case(tmp_path)
    (found,) = predict(model, list(case.channels.values()), tmp_path / "out", exact=True)
    np.testing.assert_array_equal(found.label.array, predict_exact(model, case).label.array)


@pytest.mark.parametrize(
    "other",
    [["--tta"], ["--crf"], ["--save-probabilities"], ["--save-uncertainty"], ["--uncertainty", "dropout"], ["--ensemble", "x"]],
)  # fmt: skip
def test_what_exact_cannot_be_combined_with(other: list[str], tmp_path: Path, capsys) -> None:
    model = import_nnunet(write_results(tmp_path), tmp_path / "model")
    files, out = [str(path) for path in write_case(tmp_path).channels.values()], tmp_path / "out"
    assert run(["predict", str(model.folder), *files, "--out", str(out), "--exact", *other]) == 2
    assert f"{other[0]}" in capsys.readouterr().err
    assert not out.exists()


def test_the_command_refuses_models_that_were_not_imported(tmp_path: Path, tiny_plan, capsys) -> None:
    plan = tiny_plan()
    network = networks.create("small_unet", spatial_dims=3, in_channels=1, out_channels=2, **plan.network.options)
    model = Model.save(tmp_path / "model", plan, network.state_dict(), {})
    image = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((20, 20, 16), np.float32), np.eye(4)), image)
    assert run(["predict", str(model.folder), str(image), "--out", str(tmp_path / "out"), "--exact"]) == 2
    assert "--exact" in (said := capsys.readouterr().err)
    assert "was not imported from nnU-Net" in said
    assert not (tmp_path / "out").exists()


def test_memory_counts_whole_logits(tmp_path: Path) -> None:
    model = import_nnunet(write_results(tmp_path), tmp_path / "model")
    grid = Grid((512, 512, 400), np.diag([1.5, 1.0, 2.0, 1.0]))
    usual, exact = (needed_bytes(model.plan, grid, 2, model.facts, exact=exact) for exact in (False, True))
    assert exact["logits"] >= 2 * 3 * 512 * 512 * 400
    assert exact["network"] >= usual["network"]  # a window in single precision, whatever the processor prefers
    assert {name: size for name, size in exact.items() if name not in ("logits", "network")} == {
        n: s for n, s in usual.items() if n not in ("rows", "network")
    }
