"""A process that predicts in children, kills and stops them: ``killing_prediction.py MODEL COHORT FOLDER SEED``.

Everything is imported once; each child is a forked process that runs the command line. A child that is to be signalled waits
for that before its last case, should this process be slow. One JSON document is printed at the end.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

import striate.inference.engines.pytorch
import striate.trust.image_facts
import striate.workflows.predict  # noqa: F401
from striate.cli.main import run
from striate.workflows import predict_masks

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs tests may ignore it
MODEL, COHORT, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
DRAW = random.Random(sys.argv[4])
LAST = "s5"
OPTIONS = ["--engine", "torch", "--save-uncertainty", "--save-probabilities"]


def started(out: Path, *, until_sent: bool = False) -> int:
    """Start to predict, or go on, in a child, which may wait before its last case until it was `sent` its signal."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        if until_sent:
            wait_for_the_signal()
        with (FOLDER / f"{out.name}.txt").open("a") as text:
            os.dup2(text.fileno(), 1)
            os.dup2(text.fileno(), 2)
        code = run(["predict", MODEL, COHORT, "--out", str(out), *OPTIONS])
    finally:
        os._exit(code)


def wait_for_the_signal() -> None:
    """Let this process wait for its signal before its last case."""
    answer = predict_masks.answer

    def answered(model, case, *rest, **more):
        while case.name == LAST and not sent(os.getpid()).exists():
            time.sleep(0.001)
        return answer(model, case, *rest, **more)

    predict_masks.answer = answered


def sent(child: int) -> Path:
    """Return the file that is there once a child was sent its signal."""
    return FOLDER / f"{child}.sent"


def ended(child: int) -> int:
    """Wait for a child; returns its exit code, or minus its signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def done(out: Path) -> int:
    """How many cases are done."""
    return len(list((FOLDER / f"{out.name}.unfinished" / "done").glob("[!.]*.json")))


def reached(child: int, happened) -> None:
    """Wait until something has happened, or the child has ended."""
    limit = time.monotonic() + 300
    while not happened() and time.monotonic() < limit:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.001)


def signalled(out: Path, happened, number: int) -> int:
    """Start, and send a signal soon after `happened()`; returns how the child ended."""
    child = started(out, until_sent=True)
    reached(child, happened)
    time.sleep(DRAW.uniform(0, 0.01))
    os.kill(child, number)
    sent(child).touch()
    return ended(child)


def listed(folder: Path) -> dict[str, int]:
    """Files below a folder, with the time of their last change."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


report: dict[str, object] = {"straight": ended(started(FOLDER / "straight"))}

out = FOLDER / "killed"
moments = [(FOLDER / "killed.unfinished").exists, *(lambda n=n: done(out) >= n for n in (1, 2, 4))]
report["killed"] = [signalled(out, moment, signal.SIGKILL) for moment in moments] + [ended(started(out))]

for name, number in (("interrupted", signal.SIGINT), ("terminated", signal.SIGTERM)):
    out = FOLDER / name
    early = signalled(out, lambda out=out: done(out) >= 2, number)
    kept = done(out)
    report[name] = {"early": early, "kept": kept, "last": ended(started(out))}

out, beside = FOLDER / "lives", FOLDER / "lives.unfinished"
child = started(out, until_sent=True)
reached(child, lambda: done(out) >= 1)
os.kill(child, signal.SIGSTOP)
os.waitpid(child, os.WUNTRACED)
before = listed(beside)
report["lives"] = {"other": ended(started(out)), "untouched": bool(before) and listed(beside) == before}
sent(child).touch()
os.kill(child, signal.SIGCONT)
report["lives"]["itself"] = ended(child)
report["texts"] = {path.stem: path.read_text() for path in FOLDER.glob("*.txt")}
sys.stdout.write(json.dumps(report))
