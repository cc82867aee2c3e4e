"""What became of lesions between two visits, by hand; who comes first; transforms from files."""

from dataclasses import replace

import numpy as np
import pytest

from striate.core.errors import DataError, GeometryError, UsageError
from striate.core.image import Grid
from striate.measure.change import Change, LabelChange, LesionChange
from striate.measure.finding import CaseFindings, LabelFindings, Quantity, Review
from striate.trust.change import KINDS, Examined, compare_label
from striate.trust.repeatability import SHELL
from striate.trust.transform_file import read_transform
from striate.trust.triage import triage

GRID = Grid((40, 40, 40), np.diag([1.0, 1.0, 1.0, 1.0]))
STILL = np.eye(4)


def ball(centre, radius):
    place = np.indices(GRID.shape) - np.array(centre)[:, None, None, None]
    return (place**2).sum(axis=0) <= radius**2


def seen(mask, belief=None):
    return Examined(mask, GRID, Quantity(float(mask.sum()) / 1000), belief)


def compared(before, after, matrix=STILL):
    found = compare_label(before, after, matrix)
    return found.change, found.kinds


def kinds(before, after, *, earlier=None, later=None):
    change, _ = compared(seen(before, earlier), seen(after, later))
    return sorted(lesion.kind for lesion in change.lesions)


def test_every_kind_at_its_place():
    stays, grows, shrinks = (8, 8, 8), (8, 30, 8), (30, 8, 8)
    before = ball(stays, 4) | ball(grows, 3) | ball(shrinks, 5) | ball((30, 30, 8), 3)
    after = ball(stays, 4) | ball(grows, 5) | ball(shrinks, 3) | ball((8, 8, 30), 3)
    change, drawn = compared(seen(before), seen(after))
    assert sorted(x.kind for x in change.lesions) == ["enlarged", "new", "shrunken", "stable", "vanished"]
    by = {x.kind: x for x in change.lesions}
    assert by["new"].centroid_mm == pytest.approx((8, 8, 30)) and by["vanished"].centroid_mm == pytest.approx(
        (30, 30, 8)
    )
    assert (by["new"].before_ml, by["new"].after_ml) == (0, pytest.approx(ball((8, 8, 30), 3).sum() / 1000))
    assert change.volume_change_ml.value == pytest.approx((after.sum() - before.sum()) / 1000)
    assert (drawn[8, 8, 30], drawn[30, 30, 8], drawn[8, 8, 8]) == (KINDS["new"], KINDS["vanished"], KINDS["stable"])
    assert (
        drawn[8, 34, 8] == KINDS["enlarged"]
        and drawn[34, 8, 8] == KINDS["shrunken"]
        and drawn[8, 30, 8] == KINDS["stable"]
    )


def test_a_shift_of_a_voxel_changes_nothing_and_near_pieces_are_one():
    assert kinds(ball((20, 20, 20), 4), ball((21, 20, 20), 4)) == ["stable"]
    before = ball((20, 20, 20), 5)
    split = before.copy()
    split[20] = False
    assert kinds(before, split) == ["stable"] and len(kinds(before, split)) == 1
    far = ball((10, 20, 20), 3)
    assert kinds(far, far | ball((17, 20, 20), 2)) == ["new", "stable"]


def test_the_smallest_detectable_change_is_the_borders():
    lesion = ball((20, 20, 20), 4)
    change, _ = compared(seen(lesion), seen(lesion))
    inner = sum(np.roll(lesion, s, a) for a in range(3) for s in (-1, 1)) == 6
    border = int((lesion & ~inner).sum())
    assert change.smallest_detectable_ml == pytest.approx(1.96 * 2**0.5 * SHELL * border / 1000)
    assert change.detectable is False


def test_what_is_too_small_or_was_half_believed_in_is_not_new():
    nothing, speck, lesion = np.zeros(GRID.shape, bool), ball((20, 20, 20), 1), ball((20, 20, 20), 3)
    assert speck.sum() == 7 and kinds(nothing, speck) == []
    assert kinds(nothing, lesion) == ["new"] and kinds(lesion, nothing) == ["vanished"]
    doubt = np.where(lesion, 0.4, 0).astype(np.float32)
    assert kinds(nothing, lesion, earlier=doubt) == [] and kinds(lesion, nothing, later=doubt) == []
    assert kinds(nothing, lesion, earlier=doubt / 4) == ["new"]


def test_intervals_of_both_times_make_one():
    mask = ball((20, 20, 20), 3)
    before, after = (
        Examined(mask, GRID, Quantity(1.0, 0.8, 1.5, 0.9)),
        Examined(mask, GRID, Quantity(2.0, 1.7, 2.2, 0.9)),
    )
    change, _ = compared(before, after)
    assert change.volume_change_ml.to_dict() == pytest.approx({"value": 1.0, "low": 0.2, "high": 1.4, "coverage": 0.8})
    assert change.volume_change_percent == pytest.approx(100)


def test_no_lesion_at_either_time():
    nothing = np.zeros(GRID.shape, bool)
    change, drawn = compared(seen(nothing), seen(nothing))
    assert (change.lesions, change.volume_change_percent, change.smallest_detectable_ml) == (
        (),
        None,
        0,
    ) and not drawn.any()
    with pytest.raises(UsageError, match="grid"):
        compared(seen(nothing[1:]), seen(nothing))
    flat = Examined(nothing[0], Grid((40, 40), np.eye(4)), Quantity(0.0))
    with pytest.raises(GeometryError, match="3D masks are needed"):
        compared(flat, flat)


def case(name, needed=False):
    label = LabelFindings(Quantity(1.0), Quantity(1))
    return CaseFindings(name, {"lesion": label}, review=Review(needed, "because", {"lesion": 0.4 if needed else 0.9}))


def test_who_comes_first_and_why():
    def of(subject, *kinds_, change=0.0):
        lesions = tuple(LesionChange(k, 1.0, 1.0, (0.0, 0.0, 0.0)) for k in kinds_)
        label = LabelChange(Quantity(change), 10.0, 0.5, lesions)
        return Change(subject, f"{subject}a", f"{subject}b", {"lesion": label})

    changes = [
        of("calm", "stable"),
        of("less", "vanished", change=-1),
        of("two", "new", "new"),
        of("doubt"),
        of("one", "new"),
    ]
    cases = {n: case(n, n == "doubtb") for c in changes for n in (c.before, c.after)}
    rows = triage(changes, cases)
    assert [(r.rank, r.subject, r.priority) for r in rows] == [
        (1, "two", "high"), (2, "one", "high"), (3, "doubt", "high"), (4, "less", "middle"), (5, "calm", "low"),
    ]  # fmt: skip
    assert rows[0].reason == "2 new lesions."
    assert "doubtb must not be used without review" in rows[2].reason
    assert rows[3].reason == "1 vanished lesion; lesion -1.00 mL (+10 %), beyond noise."
    assert rows[4].reason == "No change beyond the estimated noise, and nothing speaks against either mask."
    assert "not known" in triage([of("calm", "stable")], {})[0].reason
    calm = of("calm", "stable")
    rescanned = {"lesion": replace(calm.labels["lesion"], noise="measured on scan and rescan of 5 subjects")}
    (row,) = triage([replace(calm, labels=rescanned)], cases)
    assert row.reason == "No change beyond the measured noise, and nothing speaks against either mask: safe to defer."


def test_transforms_from_files(tmp_path):
    turn = np.eye(4)
    turn[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    turn[:3, 3] = 1, 2, 3
    plain = tmp_path / "m.txt"
    np.savetxt(plain, turn)
    np.testing.assert_allclose(read_transform(plain), turn)
    itk = tmp_path / "m.tfm"
    numbers = " ".join(str(v) for v in [*turn[:3, :3].ravel(), 1, 2, 3])
    itk.write_text(
        f"#Insight Transform File V1.0\n#Transform 0\nTransform: M\nParameters: {numbers}\nFixedParameters: 5 0 0\n"
    )
    point = np.array([-7.0, -1.0, 2.0, 1.0])  # RAS of (7, 1, 2) in LPS
    wanted = turn[:3, :3] @ (np.array([7.0, 1, 2]) - [5, 0, 0]) + [1, 2, 3] + [5, 0, 0]
    np.testing.assert_allclose((read_transform(itk) @ point)[:3], wanted * [-1, -1, 1])
    for text, message in (("1 2 3", "no transform"), ("hello", "no transform"), (" ".join(["2"] * 16), "rigid")):
        plain.write_text(text)
        with pytest.raises(DataError, match=message):
            read_transform(plain)
    with pytest.raises(DataError, match="not readable"):
        read_transform(tmp_path / "none.txt")
