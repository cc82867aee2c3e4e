"""The laws of error over data and size, as the page of a comparison shows them."""

import pytest

from striate.reporting.sections.curves import _law


@pytest.mark.parametrize(("shares", "told"), [((20, 60), "–"), ((20, 40, 60), "90 %")])
def test_two_points_are_not_said_to_be_explained(shares, told):
    """Any power law of two numbers goes through them."""
    law = {"a": 0.5, "b": 0.2, "c": 0.0, "explained": 0.9}
    row = _law("net", {"law": law, "points": [{"subjects": n} for n in shares]})
    assert row == ["net", "0.5 · n^(−0.2)", "0.2", "–", told]
