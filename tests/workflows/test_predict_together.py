"""Neighbouring cases at one time: the same files as one after the other, warnings in the order of cases, nothing left behind."""

from __future__ import annotations

import errno
import json
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
from striate.cli.main import run
from striate.core import disk
from striate.core.errors import DataError, DiskFullError, FormatError, Interrupted, MemoryLimitError
from striate.core.files import hash_file, read_json
from striate.core.image import Grid, Image
from striate.core.machine import show_bytes
from striate.core.progress import Silent
from striate.core.unfinished import Unfinished
from striate.data.prepare import Preparation
from striate.inference import memory, probabilities
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


def _large(model, scans, monkeypatch, *, fit):
    """Leave memory for the first `fit` cases, each by itself."""
    opened = Model.open(model)
    grids = [check_headers(case, 3) for case in gather([scans], ("flair",))]
    alone = [peak_bytes([needed_bytes(opened.plan, *grid, opened.facts)], together=False) for grid in grids]
    monkeypatch.setattr(memory, "memory_available_bytes", lambda: alone[fit - 1] if fit else 1)
    assert alone == sorted(set(alone))


def test_a_case_too_large_for_the_memory_costs_no_other_case(model, scans, tmp_path, monkeypatch, capsys):
    _large(model, scans, monkeypatch, fit=3)
    arguments = ["predict", str(model), str(scans), "--out", str(tmp_path / "out"), "--engine", "torch"]
    assert run([*arguments, "--dry-run", "--json"]) == MemoryLimitError.exit_code
    (left,) = (document := json.loads(capsys.readouterr().out))["left_out"]
    assert left["case"] == "case3" and "case case3: shape (38, 18, 14) with 1 channel needs about" in left["reason"]
    assert document["windows"] == sum(case["windows"] for case in document["cases"][:3])
    assert run([*arguments, "--dry-run"]) == MemoryLimitError.exit_code and _names(tmp_path) == ["in"]
    shown = capsys.readouterr().err
    assert "left out: case case3: shape" in shown and "3 cases would be predicted into" in shown
    told = Silent()
    says = r"^case case3: .* needs about .* of memory are free\. .*3 of 4 cases are kept in .*out\.unfinished"
    with pytest.raises(MemoryLimitError, match=says) as caught:
        predict(model, scans, tmp_path / "out", engine="torch", progress=told)
    assert caught.value.case == "case3" and _kept(tmp_path / "out") == ["case0", "case1", "case2"]
    assert told.warnings[0].startswith("1 case of 4 is too large for the free memory and left out: case3;")
    monkeypatch.undo()
    assert len(predict(model, scans, tmp_path / "out", engine="torch")) == CASES


def test_where_no_case_fits_all_are_told_and_nothing_is_begun(model, scans, tmp_path, monkeypatch):
    _large(model, scans, monkeypatch, fit=0)
    for options in ({}, {"dry_run": True}):
        with pytest.raises(MemoryLimitError) as caught:
            predict(model, scans, tmp_path / "out", engine="torch", **options)
        first, *lines = str(caught.value).splitlines()
        assert first == "4 of 4 cases cannot be predicted:" and _names(tmp_path) == ["in"]
        assert [line.split(":")[0] for line in lines] == [f"  case case{i}" for i in range(CASES)]


def test_memory_that_runs_out_at_one_case_costs_no_other_case(model, scans, tmp_path, monkeypatch):
    answer = predict_masks.answer

    def lacking(model, case, *rest, **more):
        if case.name == "case1":
            raise MemoryError
        return answer(model, case, *rest, **more)

    monkeypatch.setattr(predict_masks, "answer", lacking)
    with pytest.raises(MemoryLimitError, match=r"^case case1: the memory ran out while .* 3 of 4 cases are kept in"):
        predict(model, scans, tmp_path / "out", engine="torch")
    assert _kept(tmp_path / "out") == ["case0", "case2", "case3"]


def test_a_disk_with_too_little_room_is_refused_before_anything(model, scans, tmp_path, monkeypatch, capsys):
    maps = {"save_probabilities": True, "save_uncertainty": True, "engine": "torch"}
    found = predict(model, scans, tmp_path / "out", dry_run=True, **maps).document["disk"]
    predict(model, scans, tmp_path / "out", **maps)
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert size <= found["needed_bytes"] < found["free_bytes"]
    monkeypatch.setattr(disk, "disk_free_bytes", lambda folder: found["needed_bytes"] - 1)
    monkeypatch.setattr(predict_masks, "choose", lambda *given: pytest.fail("begun"))
    for options in ({}, {"dry_run": True}):
        with pytest.raises(DiskFullError, match=r"what is written of 4 cases may take up to .* or leave --save-prob"):
            predict(model, scans, tmp_path / "full", **maps, **options)
    assert _names(tmp_path) == ["in", "out"]
    assert (
        run(["predict", str(model), str(scans), "--out", str(tmp_path / "full"), "--dry-run"]) == 0
    )  # masks alone fit
    assert "disk: up to about" in capsys.readouterr().err


def test_a_disk_with_room_for_masks_of_anatomy_is_told_and_not_refused(model, scans, tmp_path, monkeypatch):
    found = predict(model, scans, tmp_path / "out", engine="torch", dry_run=True).document["disk"]
    assert found["needed_bytes"] < found["most_bytes"]
    for free, tight in ((found["needed_bytes"], True), (found["most_bytes"], False)):
        monkeypatch.setattr(disk, "disk_free_bytes", lambda folder, free=free: free)
        for dry_run in (True, False):
            told = _Told()
            assert predict(model, scans, tmp_path / f"{tight}", engine="torch", dry_run=dry_run, progress=told)
            notes = [note for note in told.notes if "If the disk fills up, what is done is kept" in note]
            assert len(notes) == tight


def test_a_disk_that_fills_up_leaves_no_rows_of_probabilities(model, scans, tmp_path, monkeypatch):
    write = probabilities.write_image
    monkeypatch.setattr(probabilities, "write_image", lambda path, image: _full(path) or write(path, image))
    with pytest.raises(DiskFullError, match=r"the disk is full; .*nothing was left half-written"):
        predict(model, scans, tmp_path / "out", engine="torch", save_probabilities=True)
    left = sorted(path.name for path in (tmp_path / "out.unfinished").rglob("*") if path.name.startswith("."))
    assert left == [] and _kept(tmp_path / "out") == ["case0"]


def _full(path):
    if "case1" in path.name:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_is_told_and_keeps_what_was_done(model, scans, tmp_path, monkeypatch):
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


@pytest.fixture
def ctrl_c():
    """Let SIGINT interrupt: what runs tests may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
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
