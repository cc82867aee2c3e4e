import json

import numpy as np
import pytest
from scans import facts

from striate.trust.image_facts import measure


@pytest.fixture(scope="module")
def plain():
    return facts(0)["flair"]


def test_facts_are_plain_json(plain):
    assert json.loads(json.dumps(plain)) == plain
    assert len(plain["picture"]) == 12**3 and len(plain["quantiles"]) == 25


def test_geometry_is_that_of_the_file(plain):
    assert [plain[f"spacing_{a}"] for a in "xyz"] == [3, 3, 3]
    assert [plain[f"fov_{a}"] for a in "xyz"] == [168, 207, 177]
    assert 120 < plain["extent_x"] < 160 and plain["stripped"] == 0 and plain["axes"] == "RAS"


def test_units_do_not_matter(plain):
    scaled = facts(0, change=lambda array: array.astype(np.float32) * 7)["flair"]
    for name in ("noise", "blur", "edge", "bias", "tail", "streaks"):
        assert scaled[name] == pytest.approx(plain[name], rel=0.01), name


@pytest.mark.parametrize(
    ("artefacts", "name", "sign"),
    [("low_snr", "noise", 1), ("spikes", "spikes", 1), ("ghosting", "ghost", 1), ("motion", "blur", 1)],
)
def test_artefacts_move_their_measure(plain, artefacts, name, sign):
    spoilt = facts(0, artefacts=artefacts)["flair"]
    assert sign * spoilt[name] > sign * plain[name] + 0.002


def test_noise_is_what_was_added():
    rng = np.random.default_rng(0)
    ball = (np.linalg.norm(np.indices((40, 40, 40)) - 19.5, axis=0) < 15).astype(np.float32)
    ramp = ball * (100 + 2 * np.arange(40, dtype=np.float32))
    noisy = (ramp + rng.normal(0, 3, ramp.shape)).astype(np.float32)
    found = measure(noisy, (2.0, 2.0, 2.0))
    inside = noisy[ball > 0]
    assert found["noise"] == pytest.approx(3 / np.subtract(*np.percentile(inside, (95, 5))), rel=0.12)


def test_stripped_scans_have_no_air_and_constant_ones_nothing():
    stripped = facts(0, change=lambda array: np.where(array > 150, array, 0))["flair"]
    assert stripped["stripped"] == 1 and stripped["ghost"] is None and stripped["streaks"] is None
    assert measure(np.ones((50, 50, 50), np.float32), (1.0, 1.0, 1.0)) == {}


@pytest.mark.parametrize("rules", ["striate", "nnunet"])
def test_what_fills_the_background_is_told_in_the_unit_of_the_file(rules):
    found = [
        facts(0, change=lambda array, v=v: np.where(array > 150, array, 0) + v, rules=rules)["flair"]
        for v in (-1000, 0)
    ]
    assert [case["stripped"] for case in found] == [1, 1]
    assert found[0]["filling"] == -1000 and "filling" not in found[1]
