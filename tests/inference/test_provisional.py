"""A verdict that its rounds leave open is asked again, a few times; engines answer here without OpenVINO, races are given."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from striate.core.case import Case
from striate.core.image import Image
from striate.core.in_turn import in_turn
from striate.inference.engines import child, fastest
from striate.inference.engines import choose as choosing
from striate.inference.engines import convert as converting
from striate.inference.engines.choose import choose
from striate.inference.engines.foresee import foresee
from striate.inference.engines.openvino import NETWORK, PARITY
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.engines.verdict import AGAIN, joined
from striate.io.write import write_image

PROVISIONAL = "; this is provisional: not all windows agree on it, and the next call with enough work compares again"
WORTH = choosing.WORTH_MACS
OTHER = 2 * choosing.cores()
"""Cores of another machine."""


def raced(low, high, *, openvino=0.5, torch=1.0, windows=3):
    """Return what a race says: the least and greatest ratio of a round, and the least seconds of each engine."""
    return {
        "windows": windows, "seconds": {"openvino": openvino, "torch": torch},
        "ratios": {"openvino": round(torch / openvino, 3), "torch": 1.0},
        "spread": {"openvino": [low, high], "torch": [1.0, 1.0]},
    }  # fmt: skip


def raced_with_int8(low, high, *, int8=0.4, openvino=0.5, torch=1.0):
    """Return the same of a race in which int8 took part, `low` to `high` times as fast as OpenVINO in bf16."""
    seconds = {"openvino": openvino, "int8": int8, "torch": torch}
    return {
        "windows": 3, "seconds": seconds, "ratios": {name: round(torch / s, 3) for name, s in seconds.items()},
        "spread": {name: [1.0, 1.0] if name == "torch" else [1.8, 2.9] for name in seconds},
        "rivals": {"openvino": [round(1 / high, 3), round(1 / low, 3)], "int8": [low, high]},
    }  # fmt: skip


@pytest.fixture
def case(tmp_path):
    rng, files = np.random.default_rng(0), {}
    for name in ("flair", "t1c"):
        files[name] = tmp_path / f"{name}.nii.gz"
        write_image(files[name], Image(rng.normal(100, 20, (1, 16, 16, 16)).astype(np.float32), np.eye(4)))
    return Case("P1", "P1", files)


@pytest.fixture
def races(monkeypatch):
    """What the next races say, one after the other; a sentence is why one fails, a function is called before."""
    coming = []

    def run(step, asked, seconds):
        if isinstance(coming[0], str):
            return coming.pop(0)
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asked)))
        converting.main()
        return ""

    def openvino(model, tile, into):
        if not (into / NETWORK).is_file():
            (into / NETWORK).write_text("converted")
        names = next(said for said in coming if isinstance(said, dict))["seconds"]
        return {name: TorchEngine(model.network(), True, "fp32") for name in names if name != "torch"}

    def race(engines, tile):
        if callable(coming[0]):
            coming.pop(0)()
        assert set(engines) == set(coming[0]["seconds"])
        return coming.pop(0)

    monkeypatch.setattr(child, "run", run)
    monkeypatch.setattr(converting, "_openvino", openvino)
    monkeypatch.setattr(converting, "race", race)
    for module in (choosing, fastest):
        monkeypatch.setattr(module, "native_precision", lambda: "fp32")
    opened = {"openvino": "fp32", "int8": "int8"}
    monkeypatch.setattr(choosing, "_opened", lambda m, n, *_: SimpleNamespace(name="openvino", precision=opened[n]))
    return coming


@pytest.fixture
def ask(model_of, case, races):
    """Call with enough work for a comparison, unless told otherwise."""
    model = model_of()

    def asked(*coming, macs=WORTH, name="auto"):
        races[:], told = coming, []
        found = choose(model, case, name, macs=lambda: macs, tell=told.append)
        assert races == []  # no race was left, and none was run that was not given
        engine = found.engine
        return SimpleNamespace(
            name=engine.name, precision=engine.precision, reason=found.reason, parity=found.parity, told=told
        )

    asked.model = model
    asked.file = lambda: next(model.folder.glob(f"openvino/*/{PARITY}"))
    return asked


def test_a_clear_verdict_stays(ask):
    first = ask(raced(1.5, 2.5))
    assert first.name == "openvino" and "provisional" not in first.reason and len(first.parity["races"]) == 1
    assert ask().parity == first.parity and ask().told == []


def test_an_open_verdict_is_asked_again_three_times_with_all_rounds_and_then_stands(ask):
    first = ask(raced(0.5, 4.0))
    assert f"{PROVISIONAL}; the same label" in first.reason and len(first.told) == 1
    made = ask.file().with_name(NETWORK).stat().st_mtime_ns
    for count in range(1, AGAIN + 1):
        found = ask(raced(0.7, 5.0, openvino=0.4, torch=0.9))
        assert found.told == ["comparing OpenVINO with PyTorch again: before, it was not clear which is the faster"]
        assert ("provisional" in found.reason) == (count < AGAIN)
        assert found.parity["windows"] == 3 + 3 * count and len(found.parity["races"]) == 1 + count
        assert found.parity["seconds"] == {"openvino": 0.4, "torch": 0.9}
        assert found.parity["ratios"]["openvino"] == 2.25 and found.parity["spread"]["openvino"] == [0.5, 5.0]
    assert ask().parity == found.parity == json.loads(ask.file().read_text())
    assert found.parity["tiles"] == first.parity["tiles"] and AGAIN == 3
    assert ask.file().with_name(NETWORK).stat().st_mtime_ns == made
    assert {path.name for path in ask.file().parent.iterdir()} == {NETWORK, PARITY}


def test_a_race_whose_rounds_agree_settles_it(ask):
    first = ask(raced(0.3, 1.2, openvino=1.0, torch=0.8))
    assert first.name == "torch" and first.reason == f"OpenVINO was measured 0.8 times as fast here{PROVISIONAL}"
    found = ask(raced(3.5, 4.5, openvino=0.2))
    assert found.name == "openvino" and "provisional" not in found.reason
    assert "measured 4.0 times as fast as PyTorch here (0.3 to 4.5 in 6 windows in turns" in found.reason
    assert ask().parity == found.parity


def test_a_race_that_agrees_in_itself_and_contradicts_what_all_say_does_not_settle_it(ask):
    ask(raced(0.5, 4.0, openvino=0.2, torch=0.8))
    found = ask(raced(0.8, 1.0, openvino=0.9, torch=0.8))
    assert found.name == "openvino" and "provisional" in found.reason


def test_pytorch_is_clear_where_no_window_was_fast_enough_to_change(ask):
    first = ask(raced(0.9, 1.09, openvino=1.0, torch=1.0))
    assert first.name == "torch" and "provisional" not in first.reason
    assert ask().parity == first.parity


def test_a_race_between_bf16_and_int8_that_is_open_is_run_again(ask):
    first = ask(raced_with_int8(0.8, 1.4))
    assert first.precision == "int8" and PROVISIONAL in first.reason
    found = ask(raced_with_int8(0.7, 0.9, openvino=0.3, int8=0.35))
    told = "comparing OpenVINO with PyTorch again: before, it was not clear which is the fastest of OpenVINO and int8"
    assert found.told == [told] and found.precision == "fp32" and "provisional" not in found.reason
    assert found.parity["rivals"] == {"openvino": [0.714, 1.429], "int8": [0.7, 1.4]}
    assert [race["rivals"]["int8"] for race in found.parity["races"]] == [[0.8, 1.4], [0.7, 0.9]]
    assert ask().parity == found.parity


def test_bf16_and_int8_that_never_agree_are_asked_three_times_and_then_stand(ask):
    found = [ask(raced_with_int8(0.8, 1.4)) for _ in range(1 + AGAIN)]
    assert ["provisional" in one.reason for one in found] == [True, True, True, False] and ask().told == []


@pytest.mark.parametrize("rounds", [(1.05, 1.4), (0.99, 1.2)])
def test_bf16_and_int8_of_which_one_leads_or_both_are_alike_are_not_asked_again(ask, rounds):
    first = ask(raced_with_int8(*rounds))
    assert first.precision == "int8" and "provisional" not in first.reason and ask().parity == first.parity


def test_int8_that_answers_otherwise_makes_nothing_unclear(ask):
    parity = ask(raced_with_int8(0.8, 1.4)).parity
    far = {window: {**apart, "int8": 0.5} for window, apart in parity["tiles"].items()}
    ask.file().write_text(json.dumps({**parity, "tiles": far}))
    found = ask()
    assert found.precision == "fp32" and "provisional" not in found.reason


def test_small_work_and_named_engines_do_not_ask_again(ask):
    first = ask(raced(0.5, 4.0))
    small = ask(macs=WORTH / 2)
    assert small.parity == first.parity and PROVISIONAL in small.reason and small.told == []
    named = ask(name="openvino")
    assert named.parity == first.parity and "provisional" not in named.reason


def test_a_verdict_of_a_version_before_stands(ask):
    parity = ask(raced(0.5, 4.0)).parity
    del parity["races"]
    ask.file().write_text(json.dumps(parity))
    found = ask()
    assert found.name == "openvino" and found.parity == parity and "provisional" not in found.reason


def test_what_answers_otherwise_is_not_raced_again(ask):
    parity = ask(raced(0.5, 4.0)).parity
    far = {window: {**apart, "openvino": 0.5} for window, apart in parity["tiles"].items()}
    ask.file().write_text(json.dumps({**parity, "tiles": far}))
    found = ask()
    assert found.name == "torch" and "differ" in found.reason and "provisional" not in found.reason


def test_a_race_that_fails_costs_no_round_and_counts(ask):
    first = ask(raced(0.5, 4.0))
    for count in range(1, AGAIN + 1):
        found = ask("it took more than 900 s")
        assert found.name == "openvino" and found.parity["races"][-1]["failed"] == "it took more than 900 s"
        rest = {name: said for name, said in found.parity.items() if name != "races"}
        assert {**rest, "races": first.parity["races"]} == first.parity and len(found.parity["races"]) == 1 + count
    assert ask().parity == found.parity


def test_an_image_that_cannot_be_read_is_no_race(ask, case, tmp_path, races, monkeypatch):
    first = ask(raced(0.5, 4.0))
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    broken = Case("P2", "P2", {**case.channels, "t1c": tmp_path / "broken.nii.gz"})

    def unreadable(step, asked, seconds):
        raise choosing.DataError("no image")

    with monkeypatch.context() as now:
        now.setattr(child, "run", unreadable)
        assert choose(ask.model, broken, macs=lambda: WORTH).parity == first.parity
    assert len(ask(raced(0.5, 4.0)).parity["races"]) == 2


def test_rounds_that_another_process_adds_meanwhile_are_kept(ask):
    ask(raced(0.5, 4.0))

    def another():
        now = json.loads(ask.file().read_text())
        theirs = {"measured": "2026-01-31T10:00:00+00:00", **raced(0.6, 6.0, openvino=0.3, windows=7)}
        ask.file().write_text(json.dumps(joined(now, theirs)))

    found = ask(another, raced(2.0, 3.0, windows=5)).parity
    assert [race["windows"] for race in found["races"]] == [3, 7, 5] and found["windows"] == 15
    assert found["seconds"]["openvino"] == 0.3 and found["spread"]["openvino"] == [0.5, 6.0]


SOON, SLOW = raced(2.0, 3.0, windows=5), "it took more than 900 s"


@pytest.mark.parametrize(("ours", "cores_before"), [(SOON, None), (SLOW, None), (SOON, OTHER)])
def test_races_that_end_at_the_same_instant_are_both_kept(ask, monkeypatch, ours, cores_before):
    """Between reading and writing of one race another process ends its own; `cores_before`: the file is new to both."""
    parity = ask(raced(0.5, 4.0)).parity
    if cores_before:
        ask.file().write_text(json.dumps({**parity, "cores": cores_before}))
    path = ask.file() if not cores_before else ask.file().with_name(choosing._here())
    theirs = {"measured": "2026-01-31T10:00:00+00:00", **raced(0.6, 6.0, openvino=0.3, windows=7)}
    others, usual = [], choosing.write_json

    def another():
        with in_turn(path):
            now = json.loads(path.read_text()) if path.is_file() else {**parity, "races": []}
            usual(path, joined(now, theirs))

    def write(*given):
        if not others:
            others.append(threading.Thread(target=another))
            others[0].start()
            others[0].join(0.2)
        usual(*given)

    for module in (choosing, converting):
        monkeypatch.setattr(module, "write_json", write)
    ask(ours)
    others[0].join()
    kept = json.loads(path.read_text())["races"]
    assert [race.get("windows") for race in kept][-2:] == [None if isinstance(ours, str) else 5, 7]
    assert len(kept) == (2 if cores_before else 3)


def test_where_nothing_can_be_kept_it_stands(ask, monkeypatch):
    first = ask(raced(0.5, 4.0))
    folder, usual = ask.file().parent, os.access
    monkeypatch.setattr(choosing.os, "access", lambda path, mode: path != folder and usual(path, mode))
    found = ask()
    assert found.parity == first.parity and "provisional" not in found.reason


def test_each_number_of_cores_has_its_own_rounds(ask, monkeypatch):
    first = ask(raced(0.5, 4.0))
    for module in (choosing, converting):
        monkeypatch.setattr(module, "cores", lambda: OTHER)
    assert "provisional" not in ask(macs=0.0).reason
    assert len(ask(raced(0.5, 4.0)).parity["races"]) == 1
    assert [len(ask(raced(0.5, 4.0)).parity["races"]) for _ in range(AGAIN)] == [2, 3, 4]
    assert ask().parity["cores"] == OTHER and json.loads(ask.file().read_text()) == first.parity
    assert {path.name for path in ask.file().parent.iterdir()} == {NETWORK, PARITY, f"parity-{OTHER}.json"}


def test_a_dry_run_says_that_a_comparison_would_decide(ask):
    ask(raced(0.5, 4.0))
    large, small = (foresee(ask.model, "auto", lambda macs=macs: macs) for macs in (WORTH, 0.0))
    assert (large.name, large.window_s) == ("", None)
    assert large.reason == "OpenVINO and PyTorch would be compared again first, and the faster of them taken"
    assert (small.name, small.window_s) == ("openvino", 0.5) and small.reason.endswith(PROVISIONAL)
    assert "provisional" not in foresee(ask.model, "openvino", lambda: WORTH).reason
    ask(raced(2.0, 3.0))
    assert foresee(ask.model, "auto", lambda: WORTH).name == "openvino"
