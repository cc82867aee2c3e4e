"""Groups that differ are told from groups that do not, and looks are counted."""

import numpy as np
import pytest

from striate.trust.subgroups import Unit, subgroups


def units(rng, effect=0.0, subjects=40, cases=1):
    found = []
    for s in range(subjects):
        site, base = "AB"[s % 2], rng.normal(0.8, 0.05)
        for _ in range(cases):
            groups = {
                "site": site,
                "age": str(20 + s),
                "sex": "F" if rng.random() < 0.5 else "M",
                "empty": "",
                "same": "x",
            }
            found.append(Unit(f"s{s}", base - effect * (site == "B") + rng.normal(0, 0.01), groups))
    return found


COLUMNS = ("site", "age", "sex", "empty", "same", "who")


def test_a_site_that_is_worse_is_found_and_the_others_are_not():
    found = subgroups({"dice": units(np.random.default_rng(0), effect=0.15)}, COLUMNS)
    site = found.columns[0]
    assert site.name == "site" and site.differs and site.gap == pytest.approx(0.15, abs=0.04)
    assert [c.name for c in found.columns if c.differs] == ["site"]
    assert site.p_corrected == pytest.approx(3 * site.p) and found.n_subjects == 40
    assert [g.name for g in site.groups] == ["A", "B"] and all(g.low < g.mean < g.high for g in site.groups)


def test_columns_that_say_nothing_are_named():
    found = subgroups({"dice": units(np.random.default_rng(0))}, COLUMNS)
    assert found.skipped["empty"] == "no case has a value"
    assert found.skipped["who"] == "no case has a value"
    assert "one value only ('x'" in found.skipped["same"]


def test_continuous_columns_are_cut_into_tertiles():
    found = subgroups({"dice": units(np.random.default_rng(1))}, ("age",))
    assert [g.name for g in found.columns[0].groups] == ["20 to 33", "34 to 46", "47 to 59"]
    assert [g.n_subjects for g in found.columns[0].groups] == [14, 13, 13]


def test_few_of_a_group_are_under_represented_and_make_no_gap():
    given = [Unit(f"s{n}", 0.2 if n < 2 else 0.8, {"site": "rare" if n < 2 else "usual"}) for n in range(30)]
    column = subgroups({"dice": given}, ("site",)).columns[0]
    assert {g.name: g.few for g in column.groups} == {"rare": True, "usual": False}
    assert column.gap is None and column.differs


def test_false_alarms_stay_at_the_level():
    alarms = [
        subgroups({"dice": units(np.random.default_rng(n), cases=3)}, ("site", "sex", "age")).columns[0].differs
        for n in range(40)
    ]
    assert np.mean(alarms) <= 0.15


def test_groups_within_subjects_are_compared_within_them():
    """A subject's level must not count: large lesions are found more often in every subject."""
    rng, given = np.random.default_rng(3), []
    for s in range(12):
        level = rng.uniform(0.2, 0.7)
        given += [
            Unit(f"s{s}", level + 0.2 * (size == "large") + rng.normal(0, 0.05), {"size": size})
            for size in ("small", "large") * 4
        ]
    assert subgroups({"found": given}, ("size",)).columns[0].p < 0.01


def test_one_subject_gives_a_reason():
    given = [Unit("only", v, {"time": str(v)}) for v in (1.0, 2.0)]
    assert "one subject only" in subgroups({"dice": given}, ("time",)).skipped["time"]
