"""`exact` gives the masks of nnU-Net itself; the golden ones were made by nnUNetv2 2.8.1 on the processor, mirrored."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nnunet_folder import write_results

from striate.core.case import Case
from striate.core.errors import UsageError
from striate.inference.exact import gaussian, predict_exact, steps
from striate.model.model import Model
from striate.workflows.import_nnunet import import_nnunet

MASKS = json.loads((Path(__file__).parents[1] / "golden" / "nnunet_masks.json").read_text())
SHAPE = (20, 12, 9)
RESULTS = {
    "unet_3d": {"folds": ("0", "1")},
    "regions": {
        "tag": "unet_3d",
        "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3},
        "order": [1, 2, 3],
    },
}


def write_case(folder: Path) -> Case:
    """Write the two channels that the golden masks were made of: a body in zeros, and waves."""
    x, y, z = np.indices(SHAPE)
    ramp = ((x * 7 + y * 5 + z * 3) % 11).astype(np.float32)
    inside = (x - 9) ** 2 + (y - 6) ** 2 * 2 + (z - 4) ** 2 * 3 < 60
    waves = np.sin(x * 0.5) * np.cos(y * 0.7 + z * 0.3) * 20 + ramp
    paths = {}
    for name, array in {"FLAIR": np.where(inside, 5 + ramp, 0), "CT": waves}.items():
        paths[name] = folder / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(array.astype(np.float32), np.diag([-1.2, -1, 1.6, 1])), paths[name])
    return Case("a", "a", paths)


@pytest.mark.parametrize("name", list(MASKS))
def test_masks_are_those_of_nnunet(name: str, tmp_path: Path) -> None:
    model = import_nnunet(write_results(tmp_path, **{"tag": name, **RESULTS.get(name, {})}), tmp_path / "model")
    expected = np.array(list(MASKS[name]), dtype=int).reshape(SHAPE)
    found = predict_exact(model, write_case(tmp_path)).label.array
    assert len(np.unique(expected)) > 1
    assert int((found != expected).sum()) <= 2


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
