"""Images whose header and voxels are two files: masks of them are one file, and none is kept whose voxels may be others."""

from __future__ import annotations

import numpy as np
import pytest

from striate import networks
from striate.core.errors import DataError
from striate.core.progress import Silent
from striate.io.read import read_label
from striate.model.model import Model
from striate.workflows.predict import predict

sitk = pytest.importorskip("SimpleITK")


class Told(Silent):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def model(tiny_plan, tmp_path):
    plan = tiny_plan()
    network = networks.create(
        plan.network.name, spatial_dims=3, in_channels=1, out_channels=plan.targets.out_channels, **plan.network.options
    )
    return Model.save(tmp_path / "model", plan, network.state_dict(), {})


def _image(path, seed):
    volume = sitk.GetImageFromArray(np.random.default_rng(seed).normal(100, 20, (16, 18, 20)).astype(np.float32))
    volume.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(volume, str(path))
    return path


@pytest.mark.parametrize(("given", "written"), [(".mhd", ".mha"), (".nhdr", ".nrrd")])
def test_the_mask_is_one_file(model, tmp_path, given, written):
    predict(model, _image(tmp_path / f"a{given}", 0), tmp_path / "out")
    assert read_label(tmp_path / "out" / f"a{written}").grid.shape == (20, 18, 16)


def test_a_kept_mask_is_not_taken_for_other_voxels_under_the_same_header(model, tmp_path):
    first, second = _image(tmp_path / "a.mhd", 0), _image(tmp_path / "b.mhd", 1)
    (tmp_path / "b.raw").rename(tmp_path / "gone.raw")
    with pytest.raises(DataError):
        predict(model, [first, second], tmp_path / "out", progress=Told())
    header = first.read_bytes()
    _image(first, 2)
    assert first.read_bytes() == header  # the header alone does not tell
    (tmp_path / "gone.raw").rename(tmp_path / "b.raw")
    told = Told()
    found = predict(model, [first, second], tmp_path / "out", progress=told)
    assert len(found) == 2 and any("kept, but predicted from other images: a" in note for note in told.notes)
