"""What tests of several folders share: a tiny cohort on disk, and a plan that trains on it in a second."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("striate", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", settings.get_profile("striate"), derandomize=False, max_examples=1000)
settings.load_profile(
    "striate"
)  # the same examples each time, however slow the machine is; --hypothesis-profile search: others

SPACING_MM = 2.0


def write_cohort(folder: Path, count: int = 4, channels: tuple[str, ...] = ("flair",)) -> Path:
    """Write bright balls in noise: `count` subjects of 20 × 20 × 16 voxels of 2 mm, with masks, as a CSV."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [",".join(("subject", *channels, "label"))]
    for index in range(count):
        place = np.indices((20, 20, 16)) - np.array([6 + 2 * index, 10, 8])[:, None, None, None]
        label = ((place**2).sum(axis=0) < 16).astype(np.uint8)
        arrays = {c: rng.normal(100, 5, label.shape).astype(np.float32) + 40 * label for c in channels}
        for name, array in {**arrays, "label": label}.items():
            nib.save(nib.Nifti1Image(array, np.diag([SPACING_MM] * 3 + [1])), folder / f"s{index}_{name}.nii.gz")
        rows.append(",".join([f"s{index}", *(f"s{index}_{n}.nii.gz" for n in (*channels, "label"))]))
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder


def small_plan(channels: tuple[str, ...] = ("flair",), **training):
    """Return a plan for `write_cohort` with a network of a few thousand weights; `training` changes its training."""
    from striate.data.augment import Augmentation
    from striate.data.prepare import Preparation
    from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training

    settings = {"patch": (16, 16, 16), "batch": 2, "steps": 30, "loss": "cross_entropy", "workers": 0}
    settings |= {"augmentation": Augmentation(mirror_axes=(0,))} | training
    count = len(channels)
    return Plan(
        task=Task(channels=channels, label_names={1: "lesion"}),
        preparation=Preparation(spacing_mm=(SPACING_MM,) * 3, normalisation=("zscore",) * count, intensities=(None,) * count),
        network=NetworkChoice(name="small_unet", spatial_dims=3, options={"features": [4, 8]}),
        training=Training(**settings),
        inference=Inference(patch=(16, 16, 16)),
        reasons={"training.patch": "small: a test"},
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_cohort(tmp_path_factory) -> Path:
    """A cohort that tests only read."""
    return write_cohort(tmp_path_factory.mktemp("tiny") / "cohort")


@pytest.fixture(scope="session")
def cohort_of():
    return write_cohort


@pytest.fixture(scope="session")
def tiny_plan():
    return small_plan


@pytest.fixture(scope="session")
def python():
    """Run a Python script or module in a process with one thread; returns the finished process."""

    def run(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, **options)

    return run
