"""Copies with an artefact put in: another scan of the same truth, the same each time, and named for what was done."""

import numpy as np
import pytest

from striate.data.cohort import Cohort
from striate.inference.engines import open_engine
from striate.io.read import read_label
from striate.model.model import Model
from striate.phantoms.corruptions import CORRUPTIONS
from striate.training.loop import initialise
from striate.trust.examine import examine
from striate.trust.spoilt import spoilt


@pytest.fixture(scope="module")
def model(tiny_plan, tmp_path_factory):
    plan = tiny_plan()
    return Model.save(tmp_path_factory.mktemp("model") / "model", plan, initialise(plan).state_dict(), {})


def test_it_is_the_case_with_another_image(model, tiny_cohort):
    case = Cohort.open(tiny_cohort).cases[0]
    truth, engine = read_label(case.label), open_engine(model.network(), exclusive=True)
    _, usual = examine(model, case, engine=engine, truth=truth)
    found = [spoilt(model, case, truth, number, engine=engine) for number in range(6)]
    for evidence in found:
        name, artefact = evidence.case.split(", ")
        assert name == case.name and artefact.rsplit(" ", 1)[0].replace(" ", "_") in CORRUPTIONS
        assert 0 < float(artefact.rsplit(" ", 1)[1]) <= 1
        assert evidence.subject == case.subject
        assert evidence.labels["lesion"].true_ml == usual.labels["lesion"].true_ml > 0
        assert not np.array_equal(evidence.labels["lesion"].counts, usual.labels["lesion"].counts)
    assert len({evidence.case for evidence in found}) == 6
    again = spoilt(model, case, truth, 3, engine=engine)
    assert again.case == found[3].case and np.array_equal(
        again.labels["lesion"].counts, found[3].labels["lesion"].counts
    )
