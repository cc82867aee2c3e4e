"""Batches are a pure function of seed, rank and step, and are centred where they should be."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from striate.core.errors import UsageError
from striate.data.augment import Augmentation
from striate.data.patches import Sampling, batch_shape, draw_batch, one_thread
from striate.data.store import PatchStore, sample_foreground

ALL = Augmentation(
    affine=0.7, elastic=0.5, mirror_axes=(0, 1, 2), noise=0.5, blur=0.5, brightness=0.5, contrast=0.5, gamma=0.7,
    low_resolution=0.5, bias_field=0.5,
)  # fmt: skip


def make_store(folder: Path, shape: tuple[int, ...] = (37, 41, 33), count: int = 3) -> PatchStore:
    """Write a store directly: each case's images hold the class in channel 0, its flat index in channel 1."""
    folder.mkdir()
    entries = {}
    rng = np.random.default_rng(5)
    for case in range(count):
        classes = np.zeros(shape, dtype=np.uint8)
        classes.ravel()[rng.choice(classes.size, 40, replace=False)] = 1
        classes.ravel()[rng.choice(classes.size, 4, replace=False)] = 2
        images = np.stack([classes, np.arange(classes.size).reshape(shape)]).astype(np.float32)
        foreground = sample_foreground(classes, str(case))
        np.save(folder / f"{case}.images.npy", images)
        np.save(folder / f"{case}.classes.npy", classes)
        np.save(folder / f"{case}.foreground.npy", np.concatenate(list(foreground.values())))
        entries[f"case{case}"] = {
            "files": str(case), "shape": list(shape), "spacing_mm": [1.0] * len(shape), "notes": [],
            "foreground": {str(k): len(v) for k, v in foreground.items()},
        }  # fmt: skip
    return PatchStore(folder, {"cases": entries, "inputs": {}, "keep_zero": [True, False], "key": ""})


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    return make_store(tmp_path_factory.mktemp("patches") / "store")


def same(one, two) -> bool:
    return torch.equal(one.images, two.images) and torch.equal(one.truth, two.truth) and one.cases == two.cases


def test_shapes_and_types(store):
    batch = draw_batch(store, Sampling(store.cases, (16, 12, 20), 3), 0)
    assert batch.images.shape == (3, 2, 16, 12, 20) and batch.images.dtype == torch.float32
    assert batch.truth.shape == (3, 16, 12, 20) and batch.truth.dtype == torch.uint8
    assert batch.images.is_contiguous() and not batch.images.is_inference()
    assert torch.isfinite(batch.images).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_volumes_for_2d_networks(store, axis):
    patch = tuple(1 if a == axis else 18 for a in range(3))
    sampling = Sampling(store.cases, patch, 2, foreground=1.0, augmentation=None)
    batch = draw_batch(store, sampling, 0)
    assert batch.images.shape == (2, 2, 18, 18) and batch.truth.shape == (2, 18, 18)
    assert batch_shape(store, sampling) == ((2, 2, 18, 18), (2, 18, 18))
    assert (batch.truth.reshape(2, -1) > 0).any(dim=1).all()
    bent = draw_batch(store, Sampling(store.cases, patch, 2, augmentation=ALL), 0)
    assert bent.images.shape == (2, 2, 18, 18) and torch.isfinite(bent.images).all()


def test_without_augmentation_patches_are_cut_unchanged(store):
    sampling = Sampling(store.cases, (9, 10, 11), 4, foreground=0.0, augmentation=None)
    for step in range(5):
        batch = draw_batch(store, sampling, step)
        for image, label, name in zip(batch.images, batch.truth, batch.cases, strict=True):
            start = np.unravel_index(int(image[1, 0, 0, 0]), store.shape(name))
            place = tuple(slice(s, s + n) for s, n in zip(start, (9, 10, 11), strict=True))
            assert np.array_equal(image, store[name].images[(slice(None), *place)])
            assert np.array_equal(label, store[name].classes[place])


def test_the_asked_share_is_centred_on_foreground(store):
    def centred(batch: int, share: float, steps: int) -> list[int]:
        sampling = Sampling(store.cases, (5, 5, 5), batch, foreground=share, augmentation=None)
        drawn = [draw_batch(store, sampling, step).truth for step in range(steps)]
        return [int((c.reshape(batch, -1) > 0).any(dim=1).sum()) for c in drawn]

    assert min(centred(4, 1.0, 10)) == 4
    assert min(centred(4, 0.5, 20)) >= 2 > np.mean(centred(4, 0.0, 20))
    assert 0.25 < np.mean([c > 0 for c in centred(1, 0.5, 100)]) < 0.8


def test_classes_are_drawn_equally_however_rare(store):
    sampling = Sampling(store.cases, (1, 1, 1), 1, foreground=1.0, augmentation=None)
    classes = Counter(int(draw_batch(store, sampling, step).truth) for step in range(200))
    assert classes[0] == 0 and 70 < classes[1] < 130


def test_each_case_is_seen_once_before_any_is_seen_again(store):
    sampling = Sampling(store.cases, (4, 4, 4), 2, augmentation=None)
    names = [name for step in range(30) for name in draw_batch(store, sampling, step).cases]
    for start in range(0, 60, 3):
        assert sorted(names[start : start + 3]) == sorted(store.cases)
    assert len({tuple(names[s : s + 3]) for s in range(0, 60, 3)}) > 2


def test_small_images_are_centred_and_padded(tmp_path):
    small = make_store(tmp_path / "store", (6, 7, 8), 1)
    batch = draw_batch(small, Sampling(small.cases, (12, 12, 12), 2, foreground=1.0, augmentation=None), 0)
    assert np.array_equal(batch.images[0, :, 3:9, 2:9, 2:10], small["case0"].images)
    assert int(batch.truth[1].sum()) == int(small["case0"].classes.sum())
    assert batch.images[0, 1, :3].abs().max() == 0


def test_two_dimensional_images(tmp_path):
    flat = make_store(tmp_path / "store", (40, 50), 2)
    batch = draw_batch(flat, Sampling(flat.cases, (16, 24), 2, augmentation=ALL.changed(mirror_axes=(0, 1))), 3)
    assert batch.images.shape == (2, 2, 16, 24)


def test_batches_depend_on_nothing_but_seed_rank_and_step(store):
    sampling = Sampling(store.cases, (21, 18, 19), 2, augmentation=ALL)
    first = [draw_batch(store, sampling, step) for step in range(6)]
    for step in (4, 0, 2):
        assert same(draw_batch(store, sampling, step), first[step])
    assert not torch.equal(first[0].images, first[1].images)
    other = [draw_batch(store, Sampling(store.cases, (21, 18, 19), 2, seed=1, augmentation=ALL), 0)]
    other.append(draw_batch(store, sampling, 0, rank=1))
    assert not any(torch.equal(first[0].images, o.images) for o in other)


def test_the_number_of_threads_changes_no_bit(store):
    """Checked with every variation switched on, in this process and in a fresh one."""
    sampling = Sampling(store.cases, (33, 35, 31), 2, augmentation=ALL)
    before = torch.get_num_threads()
    digests = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            digests.append([hash(draw_batch(store, sampling, step).images.numpy().tobytes()) for step in range(6)])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert digests[0] == digests[1] == digests[2]


def test_the_caller_s_threads_come_back():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_wrong_requests_are_explained(store):
    with pytest.raises(UsageError, match=r"patch \(8, 8\) for images of shape \(37, 41, 33\)"):
        draw_batch(store, Sampling(store.cases, (8, 8), 1), 0)
    with pytest.raises(UsageError, match="case 'nobody' is not in the store"):
        draw_batch(store, Sampling(("nobody",), (8, 8, 8), 1), 0)


def test_impossible_sampling_is_refused():
    with pytest.raises(UsageError, match=r"mirror_axes \(0, 1, 2\): axes 0 to 1"):
        Sampling(("a",), (8, 8), 1, augmentation=ALL)
    with pytest.raises(UsageError, match="at least one case"):
        Sampling((), (8, 8), 1)


def test_settings_need_no_torch():
    """Plans hold augmentation and preparation settings; reading one must stay light."""
    code = "import sys, striate.data.augment, striate.data.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_half_of_the_samples_are_rehearsed_and_each_kind_is_forced_to_foreground_as_often(batch: int) -> None:
    from striate.data.patches import _case, _forced

    sampling = Sampling(("n1", "n2", "n3"), (16, 16, 16), batch, rehearsed=("o1", "o2"))
    drawn = [(_case(sampling, 0, step, i), _forced(sampling, 0, step, i)) for step in range(600) for i in range(batch)]
    counts = {name: sum(case == name for case, _ in drawn) for name in ("n1", "n2", "n3", "o1", "o2")}
    total = 600 * batch
    assert counts["o1"] + counts["o2"] == total / 2 and counts["o1"] == counts["o2"]
    assert max(counts[n] for n in ("n1", "n2", "n3")) - min(counts[n] for n in ("n1", "n2", "n3")) <= 1
    forced = [sum(f for case, f in drawn if case.startswith(kind)) for kind in "no"]
    assert abs(forced[0] - forced[1]) < 0.1 * total


def test_drawn_batches_hold_both_kinds(store: PatchStore) -> None:
    old, new = store.cases[:1], store.cases[1:]
    batch = draw_batch(store, Sampling(new, (16, 12, 20), 4, rehearsed=old), 3)
    assert sum(name in old for name in batch.cases) == 2 and set(batch.cases) <= set(store.cases)
    again = draw_batch(store, Sampling(new, (16, 12, 20), 4, rehearsed=old), 3)
    assert again.cases == batch.cases and torch.equal(again.images, batch.images)
