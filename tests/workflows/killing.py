"""A process that trains again and again in children, and kills them: ``killing.py COHORT PLAN FOLDER SEED``.

Everything is imported once; each child is a forked process that runs the command line, so that a run costs a second and
not ten. A child is killed a random moment after something it waits for has appeared in its run folder; where this process
is too slow for that, the child waits for it before it ends. One JSON document about all runs is printed at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import tensorboardX  # noqa: F401  (imported once, before the children)
import torch
import torch._dynamo

import striate.inference.validate
import striate.training.loop
import striate.training.schedule
import striate.workflows.report
import striate.workflows.train
from striate.cli.main import run
from striate.training.log import TrainingLog

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs tests may ignore it
COHORT, PLAN, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
DRAW = random.Random(sys.argv[4])
STEPS = 30
"""Of the plan."""


def started(out: Path, *extra: str, until: int | None = None) -> int:
    """Start or go on with a run in a child; returns its process number.

    Having written down its update number `until` (0: none of them), and before its report, the child waits for its signal
    (`signalled`).
    """
    fresh = ["train", COHORT, "--plan", PLAN, "--out", str(out)]
    arguments = ["train", "--resume", str(out)] if (out / "run.json").exists() else fresh
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        if until is not None:
            wait_for_the_signal(until)
        with (FOLDER / f"{out.name}.txt").open("w") as text:
            os.dup2(text.fileno(), 1)
            os.dup2(text.fileno(), 2)
        code = run([*arguments, *extra])
    finally:
        os._exit(code)


def wait_for_the_signal(until: int) -> None:
    """Let this process wait for its signal after its update number `until`, and before its report."""
    step, report = TrainingLog.step, striate.workflows.report.report

    def wait() -> None:
        while not sent(os.getpid()).exists():
            time.sleep(0.002)

    def stepped(log: TrainingLog, row: dict[str, float]) -> None:
        step(log, row)
        if row["step"] + 1 == until:
            wait()

    def reported(*given: object) -> Path:
        wait()
        return report(*given)

    TrainingLog.step, striate.workflows.report.report = stepped, reported


def sent(child: int) -> Path:
    """Return the file that is there once a child was sent its signal."""
    return FOLDER / f"{child}.sent"


def ended(child: int) -> int:
    """Wait for a child; returns its exit code, or minus its signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def signalled(child: int, happened, number: int) -> int:
    """Send a signal a random moment after `happened()`; returns how the child ended."""
    limit = time.monotonic() + 300
    while not happened() and time.monotonic() < limit:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return ended(child)
        time.sleep(0.002)
    time.sleep(DRAW.uniform(0, 0.06))
    os.kill(child, number)
    sent(child).touch()
    return ended(child)


def rows(out: Path) -> int:
    """Steps that a run has written down."""
    path = out / "metrics.csv"
    return max(path.read_bytes().count(b"\n") - 1, 0) if path.exists() else 0


def result(out: Path) -> dict[str, object]:
    """What a finished run left."""
    weights = out / "model" / "weights.safetensors"
    return {
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None,
        "steps": rows(out),
        "checkpoint": (out / "checkpoint.safetensors").exists(),
        "left": sorted(p.name for p in out.iterdir() if p.name.startswith(".")),
        "text": (FOLDER / f"{out.name}.txt").read_text(),
    }


report: dict[str, object] = {}
for name in ("straight", "twin"):
    code = ended(started(FOLDER / name))
    report[name] = {"codes": [code], **result(FOLDER / name)}

out = FOLDER / "killed"
learning = [
    lambda: True,
    lambda: (out / "run.json").exists(),
    lambda: (out / "plan.yaml").exists(),
    lambda: (out / "cache").exists(),
    *[lambda n=n: rows(out) >= n for n in sorted(DRAW.sample(range(1, STEPS), 6))],
]
finishing = [lambda: (out / "model").exists(), lambda: (out / "validation").exists()]
codes = [signalled(started(out, until=STEPS), moment, signal.SIGKILL) for moment in learning]
codes += [signalled(started(out, until=0), moment, signal.SIGKILL) for moment in finishing]
codes.append(ended(started(out)))
report["killed"] = {"codes": codes, **result(out)}

for name, number in (("interrupted", signal.SIGINT), ("terminated", signal.SIGTERM)):
    out = FOLDER / name
    early = signalled(started(out, until=1), lambda out=out: (out / "run.json").exists(), number)
    told = (FOLDER / f"{out.name}.txt").read_text()
    late = signalled(started(out, until=25), lambda out=out: rows(out) >= 5, number)
    middle = result(out)
    report[name] = {
        "early": early,
        "told": told,
        "late": late,
        "middle": middle,
        "last": ended(started(out)),
        **result(out),
    }

out = FOLDER / "twin"
codes = [ended(started(out, "--steps", "36")), ended(started(out, "--steps", "12"))]
report["extended"] = {"codes": codes, **result(out)}
shutil.copytree(FOLDER / "killed", FOLDER / "again")
report["finished"] = {"codes": [ended(started(FOLDER / "again"))], **result(FOLDER / "again")}
sys.stdout.write(json.dumps(report))
