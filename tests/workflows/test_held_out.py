"""Held-out cases: what is let go before the next thing is computed, and the memory that calibration asks for."""

import gc
import weakref

import pytest

from striate.core.errors import MemoryLimitError
from striate.core.progress import Silent
from striate.data.cohort import Cohort
from striate.inference import memory
from striate.inference.engines import open_engine
from striate.inference.inputs import check_headers
from striate.inference.memory import needed_bytes, peak_bytes
from striate.measure.evaluation import CaseEvaluation
from striate.model.model import Model
from striate.training.loop import initialise
from striate.workflows import held_out
from striate.workflows.held_out import HeldOut
from striate.workflows.unseen import check_cases


@pytest.fixture(scope="module")
def model(tiny_plan, tmp_path_factory):
    plan = tiny_plan()
    return Model.save(tmp_path_factory.mktemp("held") / "model", plan, initialise(plan).state_dict(), {})


def test_a_prediction_is_let_go_before_its_copy_is_predicted(model, tiny_cohort, tmp_path, monkeypatch):
    maps, masks, seen = list[weakref.ref](), list[weakref.ref](), list[str]()
    examine, spoilt, of = held_out.examine, held_out.spoilt, CaseEvaluation.of

    def examined(*given, **more):
        found, evidence = examine(*given, **more)
        maps.extend(weakref.ref(share) for share in found.observed.shares.values())
        masks.append(weakref.ref(found.label.array))
        return found, evidence

    def measured(*given, **more):
        gc.collect()
        assert maps and not any(ref() is not None for ref in maps)
        return of(*given, **more)

    def copied(*given, **more):
        gc.collect()
        assert masks and not any(ref() is not None for ref in masks)
        seen.append(given[1].name)
        return spoilt(*given, **more)

    for name, replaced in {"examine": examined, "spoilt": copied}.items():
        monkeypatch.setattr(held_out, name, replaced)
    monkeypatch.setattr(CaseEvaluation, "of", measured)
    cases = Cohort.open(tiny_cohort).cases[:2]
    found = HeldOut.predict(
        model, open_engine(model.network(), exclusive=True), cases, tmp_path, Silent(), panels=1, spoil=True
    )
    names = [case.name for case in cases]
    assert seen == names == list(found.candidates) == [one.case for one in found.measured] == list(found.facts)
    assert [one.case.split(",")[0] for one in found.spoilt] == names
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert written == sorted([*(f"{name}.nii.gz" for name in names), f"panels/{names[0]}.npz"])


def test_memory_to_compare_with_the_truth_is_asked_for_beforehand(model, tiny_cohort, monkeypatch):
    case = Cohort.open(tiny_cohort).cases[0]
    grid, channels = check_headers(case, 3)
    plain, compared = (
        peak_bytes([needed_bytes(model.plan, grid, channels, model.facts, truth=truth)], together=False)
        for truth in (False, True)
    )
    monkeypatch.setattr(memory, "memory_available_bytes", lambda: compared)
    check_cases(model, [case], crf=False)
    monkeypatch.setattr(memory, "memory_available_bytes", lambda: plain)
    with pytest.raises(MemoryLimitError, match=f"case {case.name}"):
        check_cases(model, [case], crf=False)
