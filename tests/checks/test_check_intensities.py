"""NaN, constant, clipped, wrong channel."""

import dataclasses

import heads
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.data.checks import flat, not_finite, saturated, wrong_channel
from striate.data.checks.facts import CohortFacts
from striate.data.checks.gather import gather

PAIR = ("flair", "t1")


def only(check, *cases):
    return [p.sentence for p in check.find(CohortFacts(tuple(cases)))]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    maker = heads.Maker(tmp_path_factory.mktemp("pairs"))
    return [gather(maker.add(f"P{s}", {c: heads.scan(s, c) for c in PAIR})) for s in range(5)]


def exchanged(case):
    channels = {"flair": case.channels["t1"], "t1": case.channels["flair"]}
    return dataclasses.replace(case, channels=channels, joint={PAIR: case.joint[PAIR].T})


@pytest.mark.parametrize("check", [not_finite, flat, saturated, wrong_channel])
def test_silent_on_clean_scans(pairs, check):
    assert only(check, *pairs) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path, value):
    image = heads.scan(1)
    image[30, 30, 20:23] = value
    facts = heads.facts_of(tmp_path, image)
    assert "channel flair holds 3 NaN or infinite voxels" in only(not_finite, facts)[0]
    assert np.isfinite(facts.channels["flair"].mean)


def test_constant_and_few_levels(tmp_path):
    assert (
        "every voxel of channel flair is 7" in only(flat, heads.facts_of(tmp_path / "c", np.full(heads.SHAPE, 7.0)))[0]
    )
    label = heads.mask(1).astype(np.float32)
    assert "channel flair holds only 0 and 1" in only(flat, heads.facts_of(tmp_path / "m", label))[0]
    tissue = heads.anatomy(1).astype(np.float32)
    assert "channel flair has only 3 different values" in only(flat, heads.facts_of(tmp_path / "t", tissue))[0]


@pytest.mark.parametrize("kind", ["raw", "stripped", "zscored"])
def test_clipped_at_the_top(tmp_path, kind):
    image = heads.scan(1)
    if kind != "raw":
        image = heads.stripped(image, 1, kind == "zscored")
    facts = heads.facts_of(tmp_path / "a", image)
    assert only(saturated, facts) == []
    top = np.percentile(image[heads.anatomy(1) > 0], 97)
    found = only(saturated, heads.facts_of(tmp_path / "b", np.minimum(image, top)))
    assert len(found) == 1 and "of the object in channel flair has the largest value" in found[0]


def test_clipped_at_the_bottom(tmp_path):
    image = heads.stripped(heads.scan(1), 1, shift=True)
    head = heads.anatomy(1) > 0
    low = np.percentile(image[head], 3)
    image[head] = np.maximum(image[head], low)
    assert "has the smallest value" in only(saturated, heads.facts_of(tmp_path, image))[0]


@pytest.mark.parametrize("which", range(5))
def test_exchanged_channels_among_others(pairs, which):
    cases = [exchanged(c) if i == which else c for i, c in enumerate(pairs)]
    (found,) = only(wrong_channel, *cases)
    assert found.startswith(f"case P{which}: channels flair and t1 look exchanged (their contrast correlates -")


def test_exchanged_channels_in_all_cases(pairs):
    assert (
        "cohort: channels flair and t1 look exchanged in 5 of 5 cases" in only(wrong_channel, *map(exchanged, pairs))[0]
    )


def test_exchanged_channels_of_a_single_case(pairs):
    found = only(wrong_channel, exchanged(pairs[0]))
    assert (
        "case P0: channels t1 and flair look exchanged (t1 has the long bright tail that flair should have)" in found[0]
    )
    assert only(wrong_channel, pairs[0]) == []


def test_names_that_say_nothing_are_not_guessed_at(pairs):
    renamed = dataclasses.replace(
        exchanged(pairs[0]), channels={"a": pairs[0].channels["t1"], "b": pairs[0].channels["flair"]},
        joint={("a", "b"): pairs[0].joint[PAIR].T},
    )  # fmt: skip
    assert only(wrong_channel, renamed) == []


def test_exchanged_on_disk(maker):
    for seed in range(4):
        channels = {c: heads.stripped(heads.scan(seed, c), seed, shift=True) for c in PAIR}
        if seed == 2:
            channels = {"flair": channels["t1"], "t1": channels["flair"]}
        maker.add(f"P{seed}", channels)
    (found,) = only(wrong_channel, *[gather(c) for c in maker.cases])
    assert found.startswith("case P2: channels flair and t1 look exchanged")


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 9), st.integers(0, 1000))
def test_scores_do_not_depend_on_who_is_exchanged(count, seed):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=60)
    parts = shared + 0.3 * rng.normal(size=(count, 60))
    sign = np.ones(count)
    sign[rng.choice(count, (count - 1) // 2, replace=False)] = -1
    scores = wrong_channel.scores(parts * sign[:, None])
    np.testing.assert_allclose(scores, wrong_channel.scores(parts) * sign, atol=1e-9)
    assert (scores * sign > 0.5).all()
