import csv
import hashlib

import numpy as np
import pytest

from striate.core.errors import UsageError
from striate.io.read import read_image
from striate.phantoms.contrast import draw_contrast
from striate.phantoms.person import Person, draw_person
from striate.phantoms.shape import draw_shape
from striate.phantoms.site import USUAL, draw_site
from striate.phantoms.subject import visits
from striate.workflows.phantom import phantom

SPACING = (4.0, 4.0, 5.0)


def rows_of(table):
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return phantom(tmp_path_factory.mktemp("sites") / "c", subjects=4, seed=5, spacing_mm=SPACING, sites=2)


def test_table_says_where_and_who(cohort):
    rows = rows_of(cohort)
    assert [r["site"] for r in rows] == ["A", "B", "A", "B"]
    assert {r["tesla"] for r in rows} <= {"1.5", "3"}
    assert all(20 <= int(r["age"]) <= 75 and r["sex"] in "FM" for r in rows)


def test_scans_of_a_site_share_its_voxels(cohort):
    for row, image in ((r, read_image(cohort.parent / r["flair"])) for r in rows_of(cohort)):
        site = draw_site(5, "AB".index(row["site"]))
        assert image.grid.spacing_mm[0] == pytest.approx(min(max(4 * site.in_plane, 0.7), 8), abs=0.006)
        assert image.grid.spacing_mm[2] == pytest.approx(min(5 * site.thickness, 8), rel=0.09)


def test_one_site_is_the_cohort_as_it_was(tmp_path):
    plain = phantom(tmp_path / "plain", subjects=1, seed=5, spacing_mm=SPACING)
    one = phantom(tmp_path / "one", subjects=1, seed=5, spacing_mm=SPACING, sites=1)
    assert plain.read_bytes() == one.read_bytes() and b"site" not in one.read_bytes()
    names = sorted(p.relative_to(plain.parent) for p in plain.parent.rglob("*.nii.gz"))
    for name in names:
        np.testing.assert_array_equal(read_image(plain.parent / name).array, read_image(one.parent / name).array)


def test_a_subject_does_not_depend_on_how_many_there_are(cohort, tmp_path):
    fewer = phantom(tmp_path / "two", subjects=2, seed=5, spacing_mm=SPACING, sites=2)
    a, b = (hashlib.sha256(read_image(t.parent / "images/P002_flair.nii.gz").array.tobytes()).digest()
            for t in (cohort, fewer))  # fmt: skip
    assert a == b and rows_of(cohort)[:2] == rows_of(fewer)


def test_sites_differ_and_repeat_by_seed():
    drawn = [draw_site(0, i) for i in range(12)]
    assert drawn == [draw_site(0, i) for i in range(12)] and draw_site(1, 0) != drawn[0]
    assert len({s.noise for s in drawn}) == 12 and [s.name for s in drawn] == list("ABCDEFGHIJKL")
    weak, strong = ([s for s in drawn if s.tesla == t] for t in (1.5, 3.0))
    assert np.mean([s.noise for s in weak]) > np.mean([s.noise for s in strong])


def test_the_old_have_wide_ventricles_open_sulci_and_more_lesions():
    young, old = Person(20, "F"), Person(75, "F")
    shape, contrast = draw_shape(np.random.default_rng(0)), draw_contrast(np.random.default_rng(0))
    assert old.shaped(shape).widening_mm - young.shaped(shape).widening_mm == pytest.approx(0.65 * 3.5)
    assert old.shown(contrast).sulci - young.shown(contrast).sulci == pytest.approx(0.65 * 0.35)
    assert (young.load, old.load) == pytest.approx((0.5, 1.7))
    assert (Person(40, "M").shaped(shape).scale <= Person(40, "F").shaped(shape).scale).all()


def test_persons_are_drawn_over_the_whole_range():
    drawn = [draw_person(np.random.default_rng(i)) for i in range(300)]
    assert min(p.age for p in drawn) < 25 and max(p.age for p in drawn) > 70
    assert 0.6 < np.mean([p.sex == "F" for p in drawn]) < 0.8


def test_visits_keep_site_and_person():
    first, second = visits(5, 1, spacing_mm=SPACING, count=2, sites=2)
    assert first.site == second.site == draw_site(5, 1) and first.person == second.person
    assert first.flair.grid.spacing_mm == second.flair.grid.spacing_mm
    alone = next(visits(5, 1, spacing_mm=SPACING))
    assert alone.site == USUAL and alone.person is None


def test_too_many_sites_leave_nothing(tmp_path):
    with pytest.raises(UsageError, match="sites: 27; a number from 1 to 26"):
        phantom(tmp_path / "out", subjects=1, sites=27)
    assert list(tmp_path.iterdir()) == []
