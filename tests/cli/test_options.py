"""What `plan` and `train` let the user decide, and what they refuse before anything is done."""

from __future__ import annotations

import pytest

from striate.core.errors import TimeLimitError, UsageError
from striate.data.cohort import Cohort
from striate.workflows.options import budget_of, checked, plain_options, split_of, targets_of, wishes_of
from striate.workflows.plan import plan


@pytest.fixture(scope="module")
def cohort(tiny_cohort):
    return Cohort.open(tiny_cohort)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bugdet": "10m"}, r"unknown option 'bugdet'\. Did you mean 'budget'\?"),
        ({"budget": "10m", "steps": 5}, r"budget 10m and steps 5: give one of them"),
        ({"holdout": ["s1"], "fold": "1/2"}, r"holdout and fold 1/2: give one of them"),
        ({"steps": 0}, r"steps 0: at least 1"),
        ({"fraction": 1.5}, r"fraction 1\.5: a share of the training subjects above 0, at most 1"),
        ({"steps": -4}, r"steps -4: at least 1"),
        ({"budget": "soon"}, r"duration 'soon': a number with s, m, h or d"),
        ({"budget": "0m"}, r"duration '0m': more than zero"),
        ({"memory": "lots"}, r"size 'lots': a positive number"),
        ({"dims": 4}, r"dims 4: 2 or 3"),
        ({"seed": -1}, r"seed -1: a number of at least 0"),
        ({"budget": 10}, r"plan: budget is 10; a text is needed"),
        ({"steps": "5"}, r"steps is '5'; a whole number is needed"),
        ({"seed": 1.5}, r"seed is 1\.5; a whole number is needed"),
        ({"fraction": "half"}, r"fraction is 'half'; a number is needed"),
        ({"holdout": "P1"}, r"holdout is 'P1'; a list of texts is needed"),
        ({"network": ["unet"]}, r"network is \['unet'\]; a text is needed"),
        ({"frozen": 1}, r"frozen is 1; True or False is needed"),
        ({"encoder": 1}, r"encoder is 1; a file or folder is needed"),
        ({"network": "unett"}, r"unknown network 'unett'\. Did you mean 'unet'\?"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        plan("cohort", **options)


def test_a_budget_too_short_for_anything():
    with pytest.raises(TimeLimitError, match=r"budget: 5\.0 s; at least 20 s are needed"):
        checked({"budget": "5s"})


def test_what_is_left_of_the_budget_is_what_counts():
    assert budget_of({"budget": "2m", "memory": "1G"}, 30.0).time_s == 90
    with pytest.raises(
        TimeLimitError, match=r"budget: 30 s, of which reading the data took 15 s; .*Give at least 55 s"
    ):
        budget_of({"budget": "30s"}, 15.0)
    assert budget_of({"steps": 7}, 1e6).steps == 7


def test_numbers():
    budget = budget_of({"memory": "2G"})
    assert (budget.time_s, budget.steps, budget.memory_bytes) == (600, None, 2 << 30)
    assert budget_of({"steps": 7}).time_s is None
    assert budget_of({}).memory_bytes > 1e6
    assert (wishes_of({"network": "unet", "dims": 2, "seed": 3}).seed, wishes_of({}).seed) == (3, 0)
    assert plain_options({"holdout": ("a", "b"), "seed": 1}) == {"holdout": ["a", "b"], "seed": 1}


def test_every_option_can_be_left_out_or_none():
    assert checked({}) == {}
    checked(dict.fromkeys(("budget", "steps", "memory", "regions", "holdout", "fold", "network", "dims", "seed")))


@pytest.mark.parametrize("fold", ["0/5", "6/5", "1/1", "one", "1-5", "1/0", "-1/5"])
def test_bad_folds(cohort, fold):
    with pytest.raises(UsageError, match=rf"fold '{fold}': K/N with K from 1 to N, and N at least 2"):
        split_of(cohort, {"fold": fold})


def test_more_folds_than_subjects(cohort):
    with pytest.raises(UsageError, match=r"5 folds of 4 labelled subjects"):
        split_of(cohort, {"fold": "1/5"})


def test_folds_cover_everyone_once(cohort):
    held = [name for k in (1, 2, 3, 4) for name in split_of(cohort, {"fold": f"{k}/4"}).validation]
    assert sorted(held) == ["s0", "s1", "s2", "s3"]


def test_holding_out(cohort):
    split = split_of(cohort, {"holdout": ["s2"]})
    assert split.validation == ("s2",) and "s2" not in split.train
    with pytest.raises(UsageError, match=r"cannot hold out 's9'"):
        split_of(cohort, {"holdout": ["s9"]})


def test_by_default_one_part_in_five_and_at_least_one(cohort):
    split = split_of(cohort, {})
    assert len(split.validation) == 1 and len(split.train) == 3
    assert split == split_of(cohort, {"seed": 0})
    alone = cohort.only(("s0",))
    assert split_of(alone, {}).validation == ()


def test_regions(cohort):
    assert targets_of(cohort, {}) is None
    assert targets_of(cohort, {"regions": ["all=1"]}).sets == {"all": (1,)}
    with pytest.raises(UsageError, match=r"region 'all'"):
        targets_of(cohort, {"regions": ["all"]})
