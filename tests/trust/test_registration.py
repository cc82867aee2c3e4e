"""Registration of phantoms with a known motion; two subjects; transforms that were given."""

import importlib

import numpy as np
import pytest

from striate.core.errors import DataError, GeometryError, UsageError
from striate.core.image import Image
from striate.phantoms.subject import draw_pose, stream, visits
from striate.trust.registration import accept, refuse_two_heads, register
from striate.trust.transform_file import read_transform, write_transform

pytest.importorskip("SimpleITK")
SPACING = (5.0, 5.0, 5.0)
CORNERS = np.c_[np.array([[x, y, z] for x in (-65, 65) for y in (-85, 85) for z in (-60, 60)]), np.ones(8)]


@pytest.fixture(scope="module")
def pair():
    """Two visits of a phantom, and the true motion, mm of the later scanner → mm of the earlier one."""
    before, after = visits(5, 0, spacing_mm=SPACING, count=2)
    first, second = (draw_pose(stream(5, 0, 3, time)) for time in (1, 2))
    matrix = np.eye(4)
    matrix[:3, :3] = first.turn.T @ second.turn
    matrix[:3, 3] = first.turn.T @ (second.shift_mm - first.shift_mm)
    return before.flair, after.flair, matrix


@pytest.fixture(scope="module")
def found(pair):
    return register(*pair[:2])


def test_a_known_motion_is_found(pair, found):
    error = np.linalg.norm((CORNERS @ (found.matrix - pair[2]).T)[:, :3], axis=1)
    still = np.linalg.norm((CORNERS @ (np.eye(4) - pair[2]).T)[:, :3], axis=1)
    assert error.max() < SPACING[0] / 2 < still.max()
    assert found.reliable and not found.cautions("a", "b") and found.correlation_after > found.correlation_before
    np.testing.assert_allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-9)
    refuse_two_heads(found, "a", "b")


def test_the_same_images_give_the_same_bits(pair, found):
    assert np.array_equal(register(*pair[:2]).matrix, found.matrix)


def test_two_subjects_are_refused_and_a_given_transform_only_warns(pair):
    other = next(visits(5, 1, spacing_mm=SPACING)).flair
    wrong = register(other, pair[1])
    assert not wrong.reliable
    with pytest.raises(
        DataError, match=r"a and b: the images correlate by .* two examinations of one subject .*--transform"
    ):
        refuse_two_heads(wrong, "a", "b")
    told = accept(other, pair[1], np.eye(4))
    refuse_two_heads(told, "a", "b")
    assert told.given and told.cautions("a", "b")[0].code == "registration"


def test_a_given_transform_is_judged(pair):
    told = accept(*pair[:2], pair[2])
    assert told.reliable and told.given and told.apart_mm is None and told.correlation_after > 0.6
    with pytest.raises(GeometryError, match="does not mirror"):
        accept(*pair[:2], np.diag([-1.0, 1, 1, 1]))


def test_what_cannot_be_registered(pair, monkeypatch):
    flat = Image(np.ones((1, 8, 8), np.float32), np.eye(4))
    with pytest.raises(GeometryError, match="a 2D image"):
        register(pair[0], flat)
    with pytest.raises(DataError, match="one value, 1"):
        register(pair[0], Image(np.ones((1, 8, 8, 8), np.float32), np.eye(4)))
    real = importlib.import_module

    def none(name, *rest):
        if name == "SimpleITK":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", none)
    with pytest.raises(UsageError, match=r"SimpleITK, which is not installed.*striate\[itk\]"):
        register(*pair[:2])


def test_transforms_written_and_read(pair, tmp_path):
    write_transform(tmp_path / "t.txt", pair[2])
    assert np.array_equal(read_transform(tmp_path / "t.txt"), pair[2])
    import SimpleITK as sitk

    euler = sitk.Euler3DTransform((1.0, 2.0, 3.0), 0.1, -0.05, 0.2, (4.0, 5.0, 6.0))
    sitk.WriteTransform(euler, str(tmp_path / "e.tfm"))
    point = (7.0, 8.0, 9.0)
    wanted = np.array(euler.TransformPoint(point)) * [-1, -1, 1]
    np.testing.assert_allclose((read_transform(tmp_path / "e.tfm") @ [-7, -8, 9, 1])[:3], wanted, atol=1e-6)
