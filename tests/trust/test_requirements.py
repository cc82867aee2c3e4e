import pytest

from striate.core.errors import UsageError
from striate.trust.requirements import NAMES, Measured, check, parse


def test_limits_are_read_and_checked_with_their_subjects():
    limits = parse("ece<=0.05, coverage >= 0.87,seconds<10")
    verdicts = check(limits, {"ece": Measured(0.02, 12), "coverage": Measured(0.8, 12), "seconds": Measured(10.0, 3)})
    assert [v.met for v in verdicts] == [True, False, False]
    assert verdicts[0].sentence == "ece<=0.05: met, 0.02 (12 subjects)."
    assert verdicts[1].n_subjects == 12 and "broken" in verdicts[1].sentence


def test_what_is_not_known_is_not_met():
    verdict = check(parse("ece<=0.05"), {"ece": Measured(None, 0, "the model was not calibrated")})[0]
    assert not verdict.met and verdict.value is None and "the model was not calibrated" in verdict.sentence
    assert not check(parse("dice>=0"), {})[0].met
    assert not check(parse("dice>=0"), {"dice": Measured(float("nan"), 3)})[0].met


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ecee<=0.05", r"unknown name 'ecee'. Did you mean 'ece'\?"),
        ("coverag>=0.9", r"Did you mean 'coverage'\?"),
        ("ece", "NAME<=NUMBER"),
        ("", "NAME<=NUMBER"),
        ("ece<=0.05,", "NAME<=NUMBER"),
        ("ece==0.05", "NAME<=NUMBER"),
        ("ece<=five", "'five' is no number"),
        ("ece<=nan", "'nan' is no number"),
        ("ece<=0.05, ece<0.1", "two limits"),
        ("coverage>=87", "coverage lies between 0 and 1, so 87 is no limit"),
        ("ece<=-0.1", "so -0.1 is no limit"),
    ],
)
def test_typing_errors_get_their_sentence(text, told):
    with pytest.raises(UsageError, match=told):
        parse(text)


def test_a_range_is_two_limits():
    assert [r.text for r in parse("coverage>=0.87,coverage<=0.93")] == ["coverage>=0.87", "coverage<=0.93"]
    assert all(len(words) < 130 for words in NAMES.values())
