"""The checks on real patients: silent as they are, and finding what is planted among them."""

import os
from pathlib import Path

import heads
import nibabel as nib
import numpy as np
import pytest

from striate.core.case import Case
from striate.data.checks.run import run_checks
from striate.data.cohort import Cohort

HOME = Path(os.environ.get("STRIATE_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
BRATS = HOME / "Dataset015_BraTS"
pytestmark = pytest.mark.skipif(not BRATS.is_dir(), reason=f"real data are not at {HOME} (set STRIATE_TEST_DATA)")


def test_glioma_patients_with_a_swap_and_a_mirrored_noisy_copy(tmp_path):
    cohort = Cohort.open(BRATS)
    first, second = cohort.cases[0], cohort.cases[1]
    swapped = dict(zip(second.channels, reversed(list(second.channels.values())), strict=True))
    image = nib.load(first.channels["flair"])
    array = np.asarray(image.dataobj)
    noise = np.random.default_rng(0).normal(0, 0.3, array.shape)
    copy = np.where(array == array[0, 0, 0], array, array + noise).astype(np.float32)[::-1].copy()
    path = heads.save(tmp_path / "copy.nii", copy, image.affine)
    planted = (
        *cohort.cases[:1], Case(second.name, second.subject, swapped, second.label), *cohort.cases[2:],
        Case("copy", "somebody", {"flair": path, "t1c": cohort.cases[2].channels["t1c"]}),
    )  # fmt: skip
    clean = run_checks(cohort)
    assert clean.clean, [p.sentence for p in clean.problems]
    result = run_checks(Cohort("planted", planted, label_names=cohort.label_names))
    found = {(p.code, p.case) for p in result.problems if p.severity != "note"}
    assert found == {("channel_swapped", second.name), ("near_duplicate", "copy"), ("duplicate", "copy")}
    alike = next(p.sentence for p in result.problems if p.code == "near_duplicate")
    assert f"flair looks like flair of case {first.name} mirrored left to right (correlation 1.0" in alike
