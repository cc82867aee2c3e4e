"""What `striate calibrate` says of its subjects."""

from __future__ import annotations

from striate.cli.calibrate import judged_by


def test_a_single_subject_is_not_said_to_have_been_left_out():
    assert judged_by(1) == "1 subject: what is fitted to it cannot be judged without others. – : too few to measure."
    assert judged_by(9) == "9 subjects; each was left out of the fit of what judged it. – : too few to measure."
