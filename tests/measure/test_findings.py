"""Findings: volumes, lesions and places by hand; JSON and CSV read back equal."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.core.errors import DataError, FormatError
from striate.core.image import LabelMap, to_ras
from striate.core.targets import Targets
from striate.measure.finding import CaseFindings, LabelFindings, Lesion, Quantity
from striate.measure.findings import Findings

REGIONS = Targets({"tumour": (1, 2), "core": (2,), "absent": (7,)}, exclusive=False)


def label_map():
    """Spacing 2 × 3 × 4 mm (24 mm³), origin (10, 20, 30): a 3 × 2 × 1 box of label 1, two voxels of label 2 far off."""
    array = np.zeros((12, 10, 8), np.uint8)
    array[2:5, 3:5, 6] = 1
    array[10, 8, 0:2] = 2
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    return LabelMap(array, affine)


def test_by_hand():
    found = Findings.of("P1", label_map(), REGIONS, ["low signal"]).cases[0]
    assert (found.case, found.warnings) == ("P1", ("low signal",))
    tumour, core = found.labels["tumour"], found.labels["core"]
    assert tumour.volume_ml.value == pytest.approx(8 * 0.024)
    assert (tumour.count.value, core.count.value) == (2, 1)
    first, second = tumour.lesions
    assert (first.voxels, first.volume_ml) == (6, pytest.approx(6 * 0.024))
    assert first.centroid_mm == pytest.approx((10 + 2 * 3, 20 + 3 * 3.5, 30 + 4 * 6))
    assert first.extent_mm == pytest.approx((6, 6, 4))
    assert first.bbox == ((2, 5), (3, 5), (6, 7))
    assert second.centroid_mm == pytest.approx((30, 44, 32))
    assert second == core.lesions[0]


def test_absent_label():
    found = Findings.of("P1", label_map(), REGIONS).cases[0].labels["absent"]
    assert (found.volume_ml.value, found.count.value, found.lesions) == (0.0, 0, ())


def test_same_places_in_another_orientation():
    """Permuting and flipping the array and its affine changes neither place nor extent, only the box's indices."""
    plain = label_map()
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = plain.array.shape[0] - 1
    swap = np.eye(4)[[2, 0, 1, 3]]  # old index from the new axes (j, k, i)
    turned = LabelMap(plain.array[::-1].transpose(1, 2, 0), plain.affine @ flip @ swap)
    assert to_ras(turned.grid)[1].matches(plain.grid)
    ours, theirs = (Findings.of("a", m, REGIONS).cases[0].labels["tumour"].lesions for m in (plain, turned))
    for one, other in zip(ours, theirs, strict=True):
        assert other.centroid_mm == pytest.approx(one.centroid_mm)
        assert other.extent_mm == pytest.approx(one.extent_mm)
        assert (other.voxels, other.volume_ml) == (one.voxels, pytest.approx(one.volume_ml))


def test_two_dimensions():
    array = np.zeros((6, 5), np.uint8)
    array[1:3, 1:4] = 1
    lesion = (
        Findings.of("a", LabelMap(array, np.diag([0.5, 2, 1, 1])), Targets({"x": (1,)}, True))
        .cases[0]
        .labels["x"]
        .lesions[0]
    )
    assert lesion.centroid_mm == pytest.approx((0.75, 4.0))
    assert lesion.extent_mm == pytest.approx((1.0, 6.0))
    assert lesion.volume_ml == pytest.approx(6 * 0.001)
    assert lesion.bbox == ((1, 3), (1, 4))


def test_json_form(tmp_path):
    Findings.of("P1", label_map(), REGIONS).write(tmp_path / "findings.json")
    document = json.loads((tmp_path / "findings.json").read_text())
    assert (document["kind"], document["schema_version"]) == ("striate-findings", 1)
    case = document["cases"][0]
    assert set(case) == {"case", "warnings", "labels"}
    assert set(case["labels"]["core"]) == {"volume_ml", "count", "lesions"}
    assert case["labels"]["core"]["count"] == {"value": 1}
    assert set(case["labels"]["core"]["lesions"][0]) == {"volume_ml", "voxels", "centroid_mm", "extent_mm", "bbox"}


@pytest.mark.parametrize("name", ["findings.json", "findings.csv"])
def test_round_trip(tmp_path, name):
    found = Findings.join(
        [
            Findings.of("P1", label_map(), REGIONS, ["first, with comma", 'second "quoted" | barred', "two\nlines"]),
            Findings.of("P2", LabelMap(np.ones((3, 3), np.uint8), np.eye(4)), REGIONS),
        ]
    )
    found.write(tmp_path / name)
    assert Findings.read(tmp_path / name) == found


def test_folder_gets_both(tmp_path):
    found = Findings.of("P1", label_map(), REGIONS)
    found.write(tmp_path)
    assert Findings.read(tmp_path) == Findings.read(tmp_path / "findings.csv") == found


NUMBERS = st.floats(0, 1e6, allow_nan=False)
QUANTITIES = st.builds(
    Quantity, NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS, st.none() | st.sampled_from([0.9, 0.95])
)
LESIONS = st.builds(
    Lesion,
    NUMBERS,
    st.integers(1, 10**9),
    st.tuples(*[st.floats(-1e4, 1e4)] * 3),
    st.tuples(*[NUMBERS] * 3),
    st.tuples(*[st.tuples(st.integers(0, 99), st.integers(100, 999))] * 3),
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
CASES = st.builds(
    CaseFindings,
    TEXTS,
    st.dictionaries(
        TEXTS,
        st.builds(LabelFindings, QUANTITIES, QUANTITIES, st.lists(LESIONS, max_size=2).map(tuple)),
        min_size=1,
        max_size=3,
    ),
    st.lists(TEXTS, max_size=2).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(cases=st.lists(CASES, max_size=3, unique_by=lambda case: case.case))
def test_any_findings_read_back_equal(tmp_path_factory, cases):
    folder = tmp_path_factory.mktemp("findings")
    found = Findings(tuple(cases))
    for name in ("f.json", "f.csv"):
        found.write(folder / name)
        assert Findings.read(folder / name) == found


def test_one_name_twice():
    part = Findings.of("P1", label_map(), REGIONS)
    with pytest.raises(DataError, match="case 'P1' twice"):
        Findings.join([part, part])


def test_broken_files(tmp_path):
    path = tmp_path / "f.json"
    with pytest.raises(FormatError, match="no such file"):
        Findings.read(path)
    path.write_text('{"kind": "striate-findings", "schema_version": 1, "cases": [{"case": "a"}]}')
    with pytest.raises(FormatError, match="a finding cannot be read"):
        Findings.read(path)
    path.write_text('{"kind": "striate-findings", "schema_version": 99, "cases": []}')
    with pytest.raises(FormatError, match="schema version 99"):
        Findings.read(path)
    path.write_text('{"kind": "other"}')
    with pytest.raises(FormatError, match="kind 'other'"):
        Findings.read(path)
    table = tmp_path / "f.csv"
    table.write_text("case,label\nP1,x\n")
    with pytest.raises(FormatError, match="columns"):
        Findings.read(table)
    Findings.of("P1", label_map(), REGIONS).write(table)
    table.write_text(table.read_text().replace("tumour,lesion,1,", "tumour,lesion,1,big"))
    with pytest.raises(FormatError, match="cell"):
        Findings.read(table)
    with pytest.raises(FormatError, match="not readable as CSV"):
        Findings.read(tmp_path / "missing.csv")
