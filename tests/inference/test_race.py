"""Engines are raced against a clock that the test moves, so that nothing depends on the machine."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from striate.inference.engines.race import LONGEST_S, MOST, NOISY_S, race, together

TILE = np.zeros((1, 1, 2, 2, 2), np.float32)


class Runner:
    """An engine that takes the seconds that it is given, one after the other, again and again."""

    name, precision = "runner", "fp32"

    def __init__(self, track, name, seconds):
        self.track, self.own, self.seconds = track, name, itertools.cycle(seconds)

    def __call__(self, tiles):
        self.track.now += next(self.seconds)
        self.track.calls.append(self.own)
        return tiles


class Track:
    """A clock, and who ran when."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def race(self, **seconds):
        return race({n: Runner(self, n, s) for n, s in seconds.items()}, TILE, lambda: self.now)


def test_two_rounds_are_enough_where_one_is_far_ahead():
    track = Track()
    found = track.race(openvino=[0.125], int8=[0.25], torch=[1.0])
    assert found["windows"] == 2 and found["seconds"] == {"openvino": 0.125, "int8": 0.25, "torch": 1.0}
    assert found["ratios"] == {"openvino": 8.0, "int8": 4.0, "torch": 1.0}
    assert track.calls == ["openvino", "int8", "torch", "int8", "torch", "openvino"]


def test_engines_beside_pytorch_are_compared_with_each_other_too():
    first = Track().race(openvino=[0.2, 0.2, 0.2], int8=[0.1, 0.4, 0.1], torch=[1.0])
    assert first["rivals"] == {"openvino": [0.5, 2.0], "int8": [0.5, 2.0]} and first["windows"] > 2
    then = Track().race(openvino=[0.2], int8=[0.05], torch=[1.0])
    assert together(first, then)["rivals"] == {"openvino": [0.25, 2.0], "int8": [0.5, 4.0]}
    assert "rivals" not in Track().race(openvino=[0.2], torch=[1.0])


def test_a_slow_second_changes_nothing_that_counts():
    found = Track().race(openvino=[0.2, 0.2, 2.0, 0.2, 0.2, 0.2, 0.2], torch=[1.0])
    assert found["ratios"]["openvino"] == 5.0 and found["windows"] == 2


def test_a_busy_machine_does_not_choose():
    track = Track()
    found = track.race(openvino=[0.2, 3.0, 0.3], torch=[0.9, 0.8, 7.0])
    assert found["ratios"]["openvino"] == 4.0 and found["spread"]["openvino"][0] < 1
    assert found["seconds"] == {"openvino": 0.2, "torch": 0.8}


def test_a_machine_that_is_busy_for_two_rounds_does_not_choose():
    found = Track().race(openvino=[3.0, 2.0, 0.2, 0.2, 0.2], torch=[0.9, 5.0, 0.8, 0.8, 0.8])
    assert found["ratios"]["openvino"] == 4.0 and found["windows"] > 2


def test_time_is_bounded_where_the_machine_is_busy():
    track = Track()
    track.race(openvino=[1.0, 9.0], torch=[1.1])
    assert NOISY_S < track.now < NOISY_S + 20


def test_short_windows_are_asked_until_it_means_something():
    track = Track()
    assert track.race(openvino=[0.001], torch=[0.05])["windows"] == 10


def test_noise_that_hits_both_does_not_count():
    found = Track().race(openvino=[0.5, 1.5, 0.5], torch=[1.0, 3.0, 1.0])
    assert found["ratios"]["openvino"] == 2.0 and found["spread"]["openvino"] == [2.0, 2.0]


def test_three_rounds_where_the_same_one_leads_by_little():
    assert Track().race(openvino=[0.1], int8=[0.11], torch=[1.0])["windows"] == 3


@pytest.mark.parametrize(
    "seconds",
    [
        {"openvino": [0.01, 0.02], "int8": [0.015], "torch": [0.1]},  # two lead in turn
        {"openvino": [0.09, 0.092], "torch": [0.1]},  # the gain is about the least that counts
    ],
)
def test_what_is_not_clear_goes_on_to_the_most(seconds):
    assert Track().race(**seconds)["windows"] == MOST


def test_time_is_bounded():
    track = Track()
    found = track.race(openvino=[LONGEST_S, LONGEST_S * 1.2], torch=[LONGEST_S])
    assert found["windows"] == 2


def test_two_races_are_as_one_of_all_their_rounds():
    seconds = {"openvino": [0.5, 0.25, 2.0, 0.5], "torch": [1.0, 4.0, 1.0, 0.75]}
    parts = [{name: taken[part] for name, taken in seconds.items()} for part in (slice(2), slice(2, 4))]
    first, then = (Track().race(**part) for part in parts)
    found = together(first, then)
    assert found["windows"] == first["windows"] + then["windows"]
    assert found["seconds"] == {"openvino": 0.25, "torch": 0.75} and found["ratios"] == {"openvino": 3.0, "torch": 1.0}
    assert found["spread"] == {"openvino": [0.5, 16.0], "torch": [1.0, 1.0]}
