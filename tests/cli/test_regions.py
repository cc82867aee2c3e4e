"""--regions takes several values, wherever it stands."""

import pytest

from striate.cli.regions import repeat_option

R = "--regions"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        (["P", "T"], ["P", "T"]),
        (["P", "T", R, "a=1+2", "b=3"], ["P", "T", R, "a=1+2", R, "b=3"]),
        ([R, "a=1+2", "b=3", "P", "T"], [R, "a=1+2", R, "b=3", "P", "T"]),
        ([R, "a=1", "b=2", "c=edema+3", "--json"], [R, "a=1", R, "b=2", R, "c=edema+3", "--json"]),
        ([f"{R}=a=1", "b=2"], [f"{R}=a=1", R, "b=2"]),
        ([R, "a=1", R, "b=2", "c=3"], [R, "a=1", R, "b=2", R, "c=3"]),
        ([R, "a=1", "./x=1", "b=2"], [R, "a=1", "./x=1", "b=2"]),
        ([R, "a=1 b=2", "P"], [R, "a=1 b=2", "P"]),
        ([R, "wrong", "b=2"], [R, "wrong", R, "b=2"]),
        ([R], [R]),
        (["--", R, "a=1", "b=2"], ["--", R, "a=1", "b=2"]),
        (["--holdout", "a=1", "b=2"], ["--holdout", "a=1", "b=2"]),
    ],
)
def test_repeats(given, expected):
    assert repeat_option(given) == expected
