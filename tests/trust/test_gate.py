import json

import numpy as np
import pytest
from scans import facts
from scipy import stats

from striate.trust.gate import MEASURES, MOST_CAUTIONS, Gate, Range, correlation


@pytest.fixture(scope="module")
def training():
    return [facts(i) for i in range(12)]


@pytest.fixture(scope="module")
def gate(training):
    return Gate.fit(training)


def codes(gate, *args, **options):
    return [c.code for c in gate.cautions("P", facts(*args, **options))]


def test_scans_like_those_of_training_pass(gate):
    assert gate.false_alarms["cases"] <= 1 and gate.false_alarms["of"] == 12
    assert [codes(gate, i, seed=1) for i in range(5)] == [[]] * 5


@pytest.mark.parametrize(
    ("artefacts", "code"),
    [("motion", "motion"), ("ghosting", "ghosting"), ("spikes", "spikes"), ("low_snr", "noise")],
)
def test_artefacts_are_named(gate, artefacts, code):
    assert codes(gate, 0, seed=2, artefacts=artefacts)[0] == code


@pytest.mark.parametrize(("axis", "words"), [(2, "front-back"), (3, "up-down")])
def test_a_flipped_axis_is_named(gate, axis, words):
    (caution,) = gate.cautions("P", facts(0, seed=3, change=lambda array: np.flip(array, axis)))
    assert caution.code == "flipped-axis" and f"flipped {words}" in caution.message


def test_stripping_spacing_and_crops_are_named(gate):
    assert "stripped" in codes(gate, 0, seed=3, change=lambda array: np.where(array > 150, array, 0))
    assert "other-spacing" in codes(gate, 0, seed=3, spacing_mm=(3.0, 3.0, 6.0))
    cropped = codes(gate, 0, seed=3, change=lambda array: array[..., 20:])
    assert "cropped" in cropped or "other-field-of-view" in cropped


def test_messages_say_what_came_and_what_training_had(gate):
    (caution,) = gate.cautions("P", facts(0, seed=2, artefacts="low_snr"))
    assert caution.message.startswith("case P: flair has noise over contrast")
    assert "the 12 training subjects had" in caution.message and "is expected" in caution.message


def test_the_range_is_the_prediction_interval():
    rule = MEASURES["rim"]  # no value of it is impossible
    values = np.array([0.2, 0.3, 0.4, 0.5, 0.9])
    found = Range.of(values, rule, 5)
    wanted = stats.t.ppf(0.999, 4) * values.std(ddof=1) * np.sqrt(1.2)
    assert (found.low, found.high) == pytest.approx((values.mean() - wanted, values.mean() + wanted))
    assert (found.least, found.most) == (0.2, 0.9)
    assert found.beyond(found.high + wanted, rule) == pytest.approx(1) and found.beyond(0.5, rule) == 0
    few = Range.of(values[:3], rule, 3)
    assert few.high - few.low > 22 * values[:3].std(ddof=1)  # few subjects, wide


def test_a_constant_measure_keeps_its_floor():
    found = Range.of(np.full(9, 2.0), MEASURES["spacing_x"], 9)
    assert (found.low, found.high) == pytest.approx((2 / np.exp(0.1), 2 * np.exp(0.1)))


def test_exchanged_channels_are_named(training):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 12**3)) * 30

    def case(first, second):
        pair = {"flair": first, "t1": second}
        return {n: {"picture": (p + rng.normal(size=p.size) * 5).tolist()} for n, p in pair.items()}

    gate = Gate.fit([case(a, b) for _ in range(6)])
    assert gate.cautions("P", case(a, b)) == []
    (caution,) = gate.cautions("P", case(b, a))
    assert caution.code == "wrong-channel" and "its contrast is that of t1" in caution.message


def test_read_back_equal(gate):
    again = Gate.from_dict(json.loads(json.dumps(gate.to_dict())))
    assert again.to_dict() == gate.to_dict()
    spoilt = facts(0, seed=2, artefacts="motion")
    assert again.cautions("P", spoilt) == gate.cautions("P", spoilt)


def test_few_subjects_and_missing_measures(training):
    assert Gate.fit(training[:2]) is None
    assert Gate.fit(training[:4], ["a", "a", "b", "b"]) is None
    assert Gate.fit(training[:3]).false_alarms == {}
    assert Gate.fit(training[:4]).cautions("P", {"flair": {}, "unknown": {"noise": 1.0}}) == []
    assert MOST_CAUTIONS == 5 and correlation(np.ones(3), np.arange(3.0)) == 0


def test_an_artefact_that_outshines_the_rim_is_named_and_no_other_scan(gate):
    """Blur and noise mix the rim of the head with the air, so that the depth looks brighter, as in a T1."""
    rim, blurred = gate.channels["flair"].ranges["rim"], 2 * gate.channels["flair"].ranges["blur"].high
    below = min(rim.low, 0.0) - 0.05
    told = [c.code for c in gate.cautions("P", {"flair": {"rim": below, "blur": blurred}})]
    assert told[0] == "blur" and "wrong-channel" not in told
    assert [c.code for c in gate.cautions("P", {"flair": {"rim": below}})] == ["wrong-channel"]


def test_a_bias_field_is_not_motion(gate):
    """It stands in the contrast that edges are divided by, and brightens the air on one side."""
    ranges = gate.channels["flair"].ranges
    weak, strong, ghosts = ranges["edge"].low / 2, 2 * ranges["bias"].high, 2 * ranges["ghost"].high

    def told(**measures):
        return {c.code for c in gate.cautions("P", {"flair": measures})}

    assert told(edge=weak, ghost=ghosts) == {"motion"}
    assert told(edge=weak, ghost=ghosts, bias=strong) == {"bias-field", "ghosting"}
    assert told(streaks=2 * ranges["streaks"].high) == {"motion"}
    assert told(streaks=2 * ranges["streaks"].high, bias=strong) == {"bias-field"}
    assert "motion" in told(blur=2 * ranges["blur"].high, ghost=ghosts, bias=strong)


def test_no_range_holds_what_its_measure_cannot_be():
    """The interval of a normal variable knows no 0: of a number of faces it reached below."""
    touched = Range.of(np.zeros(6), MEASURES["faces"], 6)
    assert (touched.low, touched.high) == (0, 0.9)
    few = Range.of(np.array([40.0, 150, 160]), MEASURES["extent_z"], 3)
    assert few.low == 0 and few.beyond(0, MEASURES["extent_z"]) == 0
    assert Range.of(np.array([0.2, 0.4, 0.6]), MEASURES["blur"], 3).high == 1
    assert Range.of(np.array([-3.0, -1, -2]), MEASURES["dark"], 3).high == 0
    assert Range.of(np.array([-0.1, 0.1, 0.2]), MEASURES["rim"], 3).low < 0  # a difference


def test_what_is_expected_of_a_number_is_a_number(gate):
    (caution,) = gate.cautions("P", {"flair": {"faces": 3.0}})
    assert caution.code == "cropped"
    assert "object touches 3; the 12 training subjects had 0, at most 0 is expected." in caution.message


FOV = {"fov_x": 168, "fov_y": 207, "fov_z": 177}
SIZES = [{"extent_x": 140.0, "extent_y": 180.0, "extent_z": z, **FOV} for z in (120, 150, 180)]


def test_an_absurd_size_is_named_however_wide_the_range():
    gate = Gate.fit([{"flair": size} for size in SIZES])
    assert gate.channels["flair"].ranges["extent_z"].low == 0  # three subjects: anything goes
    (caution,) = gate.cautions("P", {"flair": {**SIZES[0], "extent_z": 7.0}})
    assert caution.code == "other-size"
    assert "flair is 7 mm along z; the 3 training subjects were 120 to 180 mm" in caution.message
    (caution,) = gate.cautions("P", {"flair": {**SIZES[0], "extent_x": 1400.0}})
    assert caution.code == "other-size" and "flair is 1400 mm along x" in caution.message
    assert gate.cautions("P", {"flair": {**SIZES[0], "extent_z": 61.0}}) == []


def test_what_is_smaller_than_a_voxel_has_another_size_and_pictures_have_none():
    gate = Gate.fit([{"flair": size} for size in SIZES])
    lost = {"fov_x": 0.17, "fov_y": 0.21, "fov_z": 0.18}  # no object is found in a voxel
    (caution,) = [c for c in gate.cautions("P", {"flair": lost}) if c.code == "other-size"]
    assert "is 0.21 mm along y; the 3 training subjects were 180 mm" in caution.message
    wide = gate.cautions("P", {"flair": {"fov_x": 900, "fov_y": 900, "fov_z": 900}})
    assert [c.code for c in wide] == ["other-field-of-view"]  # which says nothing of an object
    pictures = [{"image": {"extent_x": 140.0 + i, "fov_x": 168}} for i in range(3)]
    assert Gate.fit(pictures).cautions("P", {"image": {"extent_x": 20.0, "fov_x": 168}})[0].code == "cropped"


def test_slices_of_another_thickness_have_no_other_size():
    slices = [{"extent_z": 1.0, "fov_x": 168, "fov_y": 207, "fov_z": 1.0, "spacing_z": 1.0} for _ in range(3)]
    gate = Gate.fit([{"flair": one} for one in slices])
    thick = {**slices[0], "extent_z": 5.0, "fov_z": 5.0, "spacing_z": 5.0}
    assert "other-size" not in [c.code for c in gate.cautions("P", {"flair": thick})]
    volume = {**thick, "extent_z": 150.0, "fov_z": 150.0}
    assert "other-size" in [c.code for c in gate.cautions("P", {"flair": volume})]
    volumes = Gate.fit([{"flair": {**volume, "extent_z": 100.0 + i}} for i in range(3)])
    assert "other-size" in [c.code for c in volumes.cautions("P", {"flair": thick})]


@pytest.mark.parametrize("value", [-1000, 100])
def test_air_of_one_value_other_than_0_is_not_called_stripped(gate, value):
    (caution,) = gate.cautions("P", facts(0, seed=3, change=lambda array: np.where(array > 150, array, 0) + value))
    assert caution.code == "other-background" and "strip" not in caution.message
    assert f"holds nothing but {value} around the object; none of the 12 training subjects" in caution.message


def test_scans_whose_training_had_air_of_one_value_are_not_told_to_be_stripped():
    filled = [facts(i, change=lambda array: np.where(array > 150, array, 0) - 1000) for i in range(4)]
    gate = Gate.from_dict(Gate.fit(filled).to_dict())
    assert gate.channels["flair"].filled
    (caution,) = [c for c in gate.cautions("P", facts(0)) if "around the object" in c.message]
    assert caution.code == "other-background" and "strip" not in caution.message
    stripped = Gate.fit([facts(i, change=lambda array: np.where(array > 150, array, 0)) for i in range(4)])
    assert "not-stripped" in [c.code for c in stripped.cautions("P", facts(0))]
