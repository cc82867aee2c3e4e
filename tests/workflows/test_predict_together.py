"""Neighbouring cases at one time: the same files as one after the other, warnings in the order of cases, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
import torch

from striate import networks
from striate.core.errors import DataError, FormatError, Interrupted
from striate.core.files import hash_file, read_json
from striate.core.image import Grid, Image
from striate.core.machine import show_bytes
from striate.core.progress import Silent
from striate.core.unfinished import Unfinished
from striate.data.prepare import Preparation
from striate.inference import memory
from striate.inference.inputs import check_headers, gather
from striate.inference.memory import needed_bytes, peak_bytes
from striate.io.write import write_image
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.workflows import predict_masks
from striate.workflows.predict import predict

CASES = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    plan = Plan(
        task=Task(channels=("flair",), label_names={0: "background", 1: "core", 2: "oedema"}),
        preparation=Preparation(spacing_mm=(1.2,) * 3, normalisation=("zscore_nonzero",), intensities=(None,)),
        network=NetworkChoice(name="small_unet", spatial_dims=3, options={"features": [4, 8]}),
        training=Training(patch=(16, 16, 16), batch=1, steps=1),
        inference=Inference(patch=(16, 16, 16)),
    )
    torch.manual_seed(0)
    network = networks.create("small_unet", spatial_dims=3, in_channels=1, out_channels=3, features=[4, 8])
    return Model.save(tmp_path_factory.mktemp("models") / "model", plan, network.state_dict(), {}).folder


@pytest.fixture
def scans(tmp_path):
    for index in range(CASES):
        array = np.zeros((1, 20 + 6 * index, 18, 14), dtype=np.float32)
        array[:, 2:-2, 2:-2, 2:-2] = np.random.default_rng(index).normal(100, 20, array[:, 2:-2, 2:-2, 2:-2].shape)
        array[:, 5, 5, 5 : 6 + index] = np.nan  # each case has a warning of its own
        path = tmp_path / "in" / f"case{index}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        write_image(path, Image(array, np.diag([1.0, 1.0, 1.0, 1.0])))
    return tmp_path / "in"


def _one_by_one(monkeypatch):
    whole = predict_masks.pipelined
    monkeypatch.setattr(predict_masks, "pipelined", lambda *steps, together: whole(*steps, together=False))


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _kept(out):
    """Return the cases that are done, each with whole files."""
    work = Unfinished(out)
    return [name for name in work.names if work.get(name)]


def test_the_files_are_those_of_one_after_the_other(model, scans, tmp_path, monkeypatch):
    asked = {"save_probabilities": True, "save_uncertainty": True, "engine": "torch"}
    told = [Silent(), Silent()]
    together = predict(model, scans, tmp_path / "a", **asked, progress=told[0])
    _one_by_one(monkeypatch)
    alone = predict(model, scans, tmp_path / "b", **asked, progress=told[1])
    files = [
        sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file()) for out in (tmp_path / "a", tmp_path / "b")
    ]
    assert files[0] == files[1] and len(files[0]) == CASES * (1 + 2 + 1 + 1) + 3
    for name in files[0]:
        if name.name != "record.json":
            assert hash_file(tmp_path / "a" / name) == hash_file(tmp_path / "b" / name), name
    assert [p.case.name for p in together] == [p.case.name for p in alone] == [f"case{i}" for i in range(CASES)]
    assert told[0].warnings == told[1].warnings
    (line,) = [text for text in told[0].warnings if "not finite" in text]
    assert line.startswith("4 cases: for instance case0: 1 voxel of") and "(case0, case1, case2, case3)" in line
    kept = read_json(tmp_path / "a" / "record.json")["warnings"]
    assert [text.split(":")[0] for text in kept if "not finite" in text] == [f"case case{i}" for i in range(CASES)]
    assert together[1].path == tmp_path / "a" / "case1.nii.gz" and together[1].path.exists()
    assert all(path.exists() for path in together[1].probabilities.values())
    stages = read_json(tmp_path / "a" / "record.json")["facts"]["cases"]["case1"]["seconds"]
    assert set(stages) == {"prepare", "facts", "network", "judge", "hash", "write"}


@pytest.mark.parametrize("together", [True, False])
def test_an_error_of_a_case_is_the_same_sentence_and_costs_no_other_case(model, scans, tmp_path, monkeypatch, together):
    path = scans / "case2.nii.gz"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 900])
    if not together:
        _one_by_one(monkeypatch)
    threads = threading.active_count()
    with pytest.raises(DataError, match=r"case2\.nii\.gz: .* truncated.* 3 of 4 cases are kept in .*out\.unfinished"):
        predict(model, scans, tmp_path / "out", engine="torch")
    assert _names(tmp_path) == ["in", "out.unfinished"] and _kept(tmp_path / "out") == ["case0", "case1", "case3"]
    assert threading.active_count() == threads


def test_the_error_of_a_case_alone_leaves_nothing_and_several_are_all_named(model, scans, tmp_path):
    for name in ("case1", "case2"):
        path = scans / f"{name}.nii.gz"
        path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(FormatError, match=r"case2\.nii\.gz: .* truncated") as one:
        predict(model, scans / "case2.nii.gz", tmp_path / "out", engine="torch")
    assert "kept" not in str(one.value) and _names(tmp_path) == ["in"]
    with pytest.raises(DataError) as both:
        predict(model, scans, tmp_path / "out", engine="torch")
    first, *lines, last = str(both.value).splitlines()
    assert first == "2 of 4 cases cannot be predicted:" and [line.count(".nii.gz: ") for line in lines] == [1, 1]
    assert "case1.nii.gz" in lines[0] and "case2.nii.gz" in lines[1] and "2 of 4 cases are kept" in last


def test_a_disk_that_fills_up_is_told_and_keeps_what_was_done(model, scans, tmp_path, monkeypatch):
    from striate.core.errors import DiskFullError

    def full(path, label):
        if "case1" in path.name:
            raise DiskFullError(f"{path}: the disk is full; room for the output is needed.")
        return write(path, label)

    write, told = predict_masks.write_label, _Told()
    monkeypatch.setattr(predict_masks, "write_label", full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        predict(model, scans, tmp_path / "out", engine="torch", progress=told)
    assert _names(tmp_path) == ["in", "out.unfinished"] and _kept(tmp_path / "out") == ["case0"]
    assert told.notes[-1].startswith("1 of 4 cases is kept in")


@pytest.mark.parametrize("at", ["case0", "case2"])
def test_an_interruption_keeps_what_is_done_and_no_thread(model, scans, tmp_path, monkeypatch, at):
    answer, threads = predict_masks.answer, threading.active_count()

    def interrupted(model, case, *rest, **more):
        if case.name == at:
            os.kill(os.getpid(), signal.SIGINT)
        return answer(model, case, *rest, **more)

    monkeypatch.setattr(predict_masks, "answer", interrupted)
    if at == "case0":
        with pytest.raises(KeyboardInterrupt):
            predict(model, scans, tmp_path / "out", engine="torch")
        assert _names(tmp_path) == ["in"]
    else:
        with pytest.raises(Interrupted, match=r"stopped; 2 of 4 cases are kept in .*the same call goes on with them"):
            predict(model, scans, tmp_path / "out", engine="torch")
        assert _names(tmp_path) == ["in", "out.unfinished"] and _kept(tmp_path / "out") == ["case0", "case1"]
    assert threading.active_count() == threads


def test_where_memory_does_not_suffice_one_is_done_after_the_other(model, scans, tmp_path, monkeypatch):
    told, seen = _Told(), list[bool]()
    whole = predict_masks.pipelined
    monkeypatch.setattr(
        predict_masks, "pipelined", lambda *steps, together: seen.append(together) or whole(*steps, together=together)
    )
    predict(model, scans, tmp_path / "roomy", engine="torch", progress=told)
    grids = [check_headers(case, 3) for case in gather([scans], ("flair",))]
    parts = [needed_bytes(Model.open(model).plan, *grid, Model.open(model).facts) for grid in grids]
    alone, three = (peak_bytes(parts, together=together) for together in (False, True))
    assert alone < three
    for place in (predict_masks, memory):
        monkeypatch.setattr(place, "memory_available_bytes", lambda: (alone + three) // 2)
    predict(model, scans, tmp_path / "tight", engine="torch", progress=told)
    assert seen == [True, False]
    roomy, tight = (read_json(tmp_path / name / "record.json")["facts"]["memory"] for name in ("roomy", "tight"))
    assert roomy["neighbours_together"] and not tight["neighbours_together"]
    assert "one is done after the other" not in told.notes[0]
    assert f"would need {show_bytes(three)}, so that one is done after the other" in " ".join(told.notes[1:])
    assert hash_file(tmp_path / "roomy" / "case3.nii.gz") == hash_file(tmp_path / "tight" / "case3.nii.gz")


def test_findings_that_wait_for_the_table_are_announced_for_each_case(model, monkeypatch):
    opened, grid = Model.open(model), Grid((20, 18, 14), np.eye(4))
    monkeypatch.setattr(predict_masks, "resident_bytes", lambda: 0)
    parts = needed_bytes(opened.plan, grid, 1, opened.facts)
    few, many = (predict_masks.announce(opened, [[parts] * count], _Told(), tta=False, held=0)[1] for count in (3, 203))
    assert many - few == 200 * memory.KEPT_BYTES > 0


def test_a_case_is_read_while_the_engine_is_made_ready_and_let_go_of(model, scans, tmp_path, monkeypatch):
    read, chosen, alive = threading.Event(), predict_masks.choose, []
    prepare = predict_masks.prepare_stage

    def preparing(model, case, **more):
        ready = prepare(model, case, **more)
        alive.append(weakref.ref(ready.array))
        read.set()
        return ready

    def choosing(*given, **more):
        assert read.wait(60)  # nothing else has asked for the case yet
        return chosen(*given, **more)

    answer, held = predict_masks.answer, []

    def answering(model, case, *rest, **more):
        held.append(alive[0]() is not None)
        return answer(model, case, *rest, **more)

    for name, instead in (("prepare_stage", preparing), ("choose", choosing), ("answer", answering)):
        monkeypatch.setattr(predict_masks, name, instead)
    predict(model, scans, tmp_path / "out", engine="torch")
    assert len(alive) == CASES and held[0] and not held[-1]


def test_nothing_slow_is_imported_before_the_first_case_is_read():
    code = "import sys, striate.workflows.predict_masks; print([m for m in ('scipy', 'torch') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


class _Told(Silent):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)
