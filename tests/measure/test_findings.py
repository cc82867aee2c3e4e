"""Findings: volumes, lesions and places by hand; JSON and CSV read back equal."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.core.caution import Caution
from striate.core.errors import DataError, FormatError
from striate.core.image import LabelMap, to_ras
from striate.core.targets import Targets
from striate.measure.change import Change, LabelChange, LesionChange
from striate.measure.finding import CaseFindings, LabelFindings, Lesion, Ood, Quantity, Review
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
    found = Findings.of("P1", label_map(), REGIONS, [Caution("low-signal", "low signal")]).cases[0]
    assert (found.case, found.warnings) == ("P1", (Caution("low-signal", "low signal"),))
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
    assert (document["kind"], document["schema_version"]) == ("striate-findings", 2)
    assert "changes" not in document
    case = document["cases"][0]
    assert set(case) == {"case", "warnings", "labels"}
    assert set(case["labels"]["core"]) == {"volume_ml", "count", "lesions"}
    assert case["labels"]["core"]["count"] == {"value": 1}
    assert set(case["labels"]["core"]["lesions"][0]) == {"volume_ml", "voxels", "centroid_mm", "extent_mm", "bbox"}


@pytest.mark.parametrize("name", ["findings.json", "findings.csv"])
def test_round_trip(tmp_path, name):
    found = Findings.join(
        [
            Findings.of(
                "P1",
                label_map(),
                REGIONS,
                [Caution("a", 'commas, "quotes" | bars: colons'), Caution("b", "two\nlines")],
            ),
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
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
CAUTIONS = st.lists(
    st.builds(Caution, st.from_regex(r"[a-z]{1,9}(-[a-z]{1,9})?", fullmatch=True), TEXTS), max_size=2
).map(tuple)
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
    st.none() | st.floats(0, 1),
)
LABELS = st.dictionaries(
    TEXTS, st.builds(LabelFindings, QUANTITIES, QUANTITIES, st.lists(LESIONS, max_size=2).map(tuple)), max_size=3
)


@st.composite
def cases(draw):
    labels = draw(LABELS)
    dice = draw(st.none() | st.dictionaries(st.sampled_from(sorted(labels)), st.floats(0, 1))) if labels else None
    review = draw(st.none() | st.builds(Review, st.booleans(), TEXTS, st.just(dice)))
    ood = draw(st.none() | st.builds(Ood, NUMBERS, NUMBERS))
    return CaseFindings(draw(TEXTS), labels, draw(CAUTIONS), ood, review)


SIGNED = st.floats(-1e6, 1e6)
KINDS = st.sampled_from(["new", "enlarged", "shrunken", "vanished", "stable"])
LESION_CHANGES = st.builds(LesionChange, KINDS, NUMBERS, NUMBERS, st.tuples(*[SIGNED] * 3) | st.tuples(*[SIGNED] * 2))
LABEL_CHANGES = st.builds(
    LabelChange,
    st.builds(Quantity, SIGNED, st.none() | SIGNED, st.none() | SIGNED, st.none() | st.just(0.9)),
    st.none() | SIGNED,
    st.none() | NUMBERS,
    st.lists(LESION_CHANGES, max_size=2).map(tuple),
)
CHANGES = st.builds(Change, TEXTS, TEXTS, TEXTS, st.dictionaries(TEXTS, LABEL_CHANGES, max_size=2), CAUTIONS)


@settings(max_examples=40, deadline=None)
@given(
    held=st.lists(cases(), max_size=3, unique_by=lambda case: case.case),
    changes=st.lists(CHANGES, max_size=2, unique_by=lambda c: (c.subject, c.before, c.after)),
)
def test_any_findings_read_back_equal(tmp_path_factory, held, changes):
    folder = tmp_path_factory.mktemp("findings")
    found = Findings(tuple(held), tuple(changes))
    for name in ("f.json", "f.csv"):
        found.write(folder / name)
        assert Findings.read(folder / name) == found


def test_one_name_twice():
    part = Findings.of("P1", label_map(), REGIONS)
    with pytest.raises(DataError, match="case 'P1' twice"):
        Findings.join([part, part])
    pair = Findings((), (Change("S", "a", "b", {}),))
    with pytest.raises(DataError, match="from 'a' to 'b' twice"):
        Findings.join([pair, pair])


def test_broken_files(tmp_path):
    path = tmp_path / "f.json"
    with pytest.raises(FormatError, match="no such file"):
        Findings.read(path)
    path.write_text('{"kind": "striate-findings", "schema_version": 1, "cases": [{"case": "a"}]}')
    with pytest.raises(FormatError, match="not readable as striate-findings"):
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


def trusted():
    """Findings with everything a model can know of its limits."""
    case = Findings.of(
        "P1", label_map(), REGIONS, [Caution("wrong-channel", "case P1: T1 in the place of FLAIR")]
    ).cases[0]
    tumour = case.labels["tumour"].with_probabilities([0.9, None])
    labels = {**case.labels, "tumour": replace(tumour, volume_ml=Quantity(0.192, 0.1, 0.3, 0.9))}
    review = Review(True, "the expected Dice is low", {"tumour": 0.8, "core": 0.5})
    lesions = (LesionChange("vanished", 0.4, 0.0, (1.0, 2.0, 3.0)), LesionChange("new", 0.0, 0.1, (4.0, 5.0, 6.0)))
    change = LabelChange(Quantity(-0.3, -0.5, -0.1, 0.9), -75.0, 0.2, lesions)
    return Findings(
        (replace(case, labels=labels, ood=Ood(5.5, 4.0), review=review),),
        (Change("S1", "P0", "P1", {"tumour": change}, (Caution("other-scanner", "another scanner"),)),),
    )


def test_what_machines_read(tmp_path):
    found = trusted()
    found.write(tmp_path)
    document = json.loads((tmp_path / "findings.json").read_text())
    case = document["cases"][0]
    assert case["warnings"] == [{"code": "wrong-channel", "message": "case P1: T1 in the place of FLAIR"}]
    assert case["ood"] == {"score": 5.5, "threshold": 4.0}
    assert case["review"] == {
        "needed": True,
        "reason": "the expected Dice is low",
        "expected_dice": 0.5,
        "expected_dice_by_label": {"tumour": 0.8, "core": 0.5},
    }
    tumour = case["labels"]["tumour"]
    assert tumour["volume_ml"] == {"value": 0.192, "low": 0.1, "high": 0.3, "coverage": 0.9}
    assert tumour["lesions"][0]["probability"] == 0.9 and "probability" not in tumour["lesions"][1]
    change = document["changes"][0]
    assert (change["subject"], change["before"], change["after"]) == ("S1", "P0", "P1")
    assert change["labels"]["tumour"] == {
        "volume_change_ml": {"value": -0.3, "low": -0.5, "high": -0.1, "coverage": 0.9},
        "volume_change_percent": -75.0,
        "smallest_detectable_ml": 0.2,
        "lesions": [
            {"kind": "vanished", "before_ml": 0.4, "after_ml": 0.0, "centroid_mm": [1.0, 2.0, 3.0]},
            {"kind": "new", "before_ml": 0.0, "after_ml": 0.1, "centroid_mm": [4.0, 5.0, 6.0]},
        ],
    }
    assert Findings.read(tmp_path / "findings.json") == Findings.read(tmp_path / "findings.csv") == found
    assert found.cases[0].ood.outside and found.changes[0].labels["tumour"].detectable


def test_lesions_come_in_one_order():
    """Largest first; equal ones by their box; those of one box by their first voxel."""
    array = np.zeros((12, 12), np.uint8)
    array[0, 0] = array[9, 9] = array[9, 0] = 1
    array[5:7, 5:7] = 1
    lesions = Findings.of("a", LabelMap(array, np.eye(4)), Targets({"x": (1,)}, True)).cases[0].labels["x"].lesions
    assert [lesion.voxels for lesion in lesions] == [4, 1, 1, 1]
    assert [lesion.bbox[0][0] for lesion in lesions] == [5, 0, 9, 9]
    assert [lesion.bbox[1][0] for lesion in lesions] == [5, 0, 0, 9]


def test_what_does_not_fit_together_is_refused():
    case = trusted().cases[0]
    with pytest.raises(DataError, match="an expected Dice of 'liver'"):
        replace(case, review=Review(False, "", {"liver": 0.9}))
    with pytest.raises(ValueError, match="zip"):
        case.labels["tumour"].with_probabilities([0.5])
    with pytest.raises(ValueError, match="kind 'grown'"):
        LesionChange("grown", 0.0, 1.0, (0.0, 0.0, 0.0))
    assert Review(False, "", {}).expected_dice is None and Review(False, "").lowest is None


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("P1,tumour,total", "P1,tumour,sum", "row is 'sum'"),
        ("P1,,case", "P9,,case", "cell"),
        ("S1,P0,-0.3", "S1,P0,low", "cell"),
    ],
)
def test_a_spoilt_table_is_refused(tmp_path, old, new, text):
    path = tmp_path / "f.csv"
    trusted().write(path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(FormatError, match=text):
        Findings.read(path)
