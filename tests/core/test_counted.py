"""Numbers with their nouns and verbs."""

import pytest

from striate.core.counted import counted, has_or_have, is_or_are, some


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0 passes are, 0 cases have"), (1, "1 pass is, 1 case has"), (2, "2 passes are, 2 cases have")],
)
def test_noun_and_verb_follow_the_number(number, told):
    passes, cases = counted(number, "pass", "passes"), counted(number, "case")
    assert f"{passes} {is_or_are(number)}, {cases} {has_or_have(number)}" == told


def test_the_first_of_many_names():
    assert some(["a", "b", "c", "d"]) == "a, b, c, d" and some(list("abcdefg")) == "a, b, c and 4 more"
