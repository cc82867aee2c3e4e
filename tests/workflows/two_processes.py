"""Started by torchrun in each process: `striate train` with the given arguments; writes what this process ended with."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import torch

from striate.cli.main import run
from striate.training import distributed, loop

torch.set_num_threads(1)
out, arguments = Path(sys.argv[1]), sys.argv[2:]
plain = loop.learn


def learn(*args, **options):
    """Train as always, and note the weights and losses of this process."""
    rank = distributed.rank()
    errors, step = [], loop.train_step

    def spied(*given):
        errors.append(step(*given))
        return errors[-1]

    loop.train_step = spied
    learned = plain(*args, **options)
    state = b"".join(v.numpy().tobytes() for v in learned.network.state_dict().values())
    found = {"weights": hashlib.sha256(state).hexdigest(), "losses": errors, "world": distributed.world_size()}
    (out / f"rank{rank}.json").write_text(json.dumps(found))
    return learned


loop.learn = learn
sys.exit(run(arguments))
