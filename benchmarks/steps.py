"""Measures a training step of every network against the same layers in plain torch; needs no data.

    python benchmarks/steps.py                    all that learn by gradient descent, fp32 (about ten minutes on two cores)
    python benchmarks/steps.py unet alexnet --bf16
    python benchmarks/steps.py unet small_unet --compiled    the peer is our own network and step with torch.compile

Ours is `striate.training.step.train_step` as training runs it: forward, total error over all heads, the check that it is
finite, backward, clipped gradient, AdamW. The peer is a copy of the network in which every layer of Striate's own that
torch has too is torch's (normalisation, convolution, pooling), in the loop that a tutorial writes: zero_grad, forward,
loss, backward, step of torch.optim.AdamW. Both see the same batch in the same memory format at the same precision.
Pairs alternate; the ratio is the median over pairs, with its quartiles. What is compiled takes one update to compile
itself, which is not in the pairs: ``first_s``.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from striate import networks
from striate.core.class_set import ClassSet
from striate.core.machine import describe
from striate.core.targets import Targets
from striate.networks.layers.avg_pool3d import AvgPool3d
from striate.networks.layers.batch_norm import BatchNorm
from striate.networks.layers.conv3d import Conv3d
from striate.networks.layers.instance_norm import InstanceNorm
from striate.networks.layers.local_response_norm import LocalResponseNorm
from striate.networks.network import Network
from striate.planning.plan import Training
from striate.training import losses, optimise
from striate.training.step import channels_last, train_step

PAIRS, MOST_PAIRS, MEASURED_S = 9, 61, 6.0
"""Pairs of long steps; of short ones as many as fit into the seconds."""
CLASSES = 4
FORMS: dict[str, tuple[int, int, int, dict[str, Any]]] = {
    # axes, side, batch, options: sizes that a step takes a few tenths of a second for
    "mlp": (2, 64, 32, {"input_size": (64, 64)}),
    "lenet5": (2, 32, 64, {}),
    "lenet5_modern": (2, 32, 64, {}),
    "alexnet": (2, 224, 4, {"width": 0.5}),
    "googlenet": (2, 96, 8, {"width": 0.5}),
    "inception_3d": (3, 32, 4, {}),
    "inception_v3": (2, 96, 4, {"width": 0.5}),
    "inception_v4": (2, 96, 4, {"width": 0.25}),
    "inception_resnet_v2": (2, 96, 4, {"width": 0.25}),
    "autoencoder": (2, 96, 8, {}),
    "deep_autoencoder": (2, 28, 64, {}),
    "cnn_rnn": (2, 64, 2, {}),
    "conv_lstm": (2, 64, 2, {}),
    "deepmedic": (3, 25, 4, {}),
    "unet_2015": (2, 188, 2, {"features": (16, 32, 64, 128, 256)}),
    "unet_3d_2016": (3, 92, 1, {"features": (8, 16, 32, 64)}),
    "residual_unet": (3, 48, 1, {"features": (16, 32, 64)}),
    "unet": (3, 48, 2, {"features": (16, 32, 64)}),
    "small_unet": (3, 64, 2, {}),
}
LENGTH = 6


def plain(network: Network) -> Network:
    """Return a copy whose layers are torch's own wherever torch has them."""
    peer = copy.deepcopy(network)
    for name, layer in list(peer.named_modules()):
        parent = peer.get_submodule(name.rpartition(".")[0]) if name else peer
        new = _torch_layer(layer)
        if new is not None:
            new.load_state_dict(layer.state_dict(), strict=False)
            setattr(parent, name.rpartition(".")[2], new)
    return peer


def _torch_layer(layer: nn.Module) -> nn.Module | None:
    if isinstance(layer, InstanceNorm):
        return nn.GroupNorm(layer.num_channels, layer.num_channels, eps=layer.eps)
    if isinstance(layer, LocalResponseNorm):
        return nn.LocalResponseNorm(layer.window, alpha=layer.alpha * layer.window, beta=layer.beta, k=layer.k)
    if isinstance(layer, Conv3d):
        size = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
        return nn.Conv3d(*size, layer.dilation, layer.groups, layer.bias is not None)  # type: ignore[arg-type]
    if type(layer) is AvgPool3d:
        return nn.AvgPool3d(
            layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad
        )  # fmt: skip
    if isinstance(layer, BatchNorm):
        return _AnyBatchNorm(layer.num_features, eps=layer.eps, momentum=layer.momentum)
    return None


class _AnyBatchNorm(nn.modules.batchnorm._BatchNorm):
    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        pass


def plain_step(
    network: Network, optimiser: torch.optim.Optimizer, loss: losses.Loss, images: Tensor, truth: Tensor, bf16: bool
) -> None:
    """Do one update as a tutorial writes it."""
    optimiser.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        outputs = network(images)
    heads = outputs if isinstance(outputs, list) else [outputs]
    error = torch.zeros(())
    for head, share in zip(heads, network.output_weights, strict=False):
        wanted = truth
        if network.task == "segmentation":
            margin = network.margin
            wanted = truth[(slice(None), *(slice(m, n - m) for m, n in zip(margin, truth.shape[1:], strict=True)))]
            if head.shape[2:] != wanted.shape[1:]:
                small = functional.interpolate(wanted[:, None].float(), head.shape[2:], mode="nearest-exact")
                wanted = small[:, 0].to(torch.uint8)
        if network.task == "sequence":
            head = head.movedim(-1, 1)
        error = error + share * loss(head.float(), wanted)
    error.backward()
    optimiser.step()


def batch_for(network: Network, side: int, count: int) -> tuple[Tensor, Tensor, str, Any]:
    """Return images, truth, the loss's name and what the outputs mean."""
    draw, dims = torch.Generator().manual_seed(0), network.spatial_dims
    size = network.fitting((side,) * dims)
    time_axis = (LENGTH,) if network.task == "sequence" else ()
    images = torch.randn((count, *time_axis, 1, *size), generator=draw)
    if not time_axis:
        images = images.contiguous(memory_format=channels_last(dims))
    if network.task == "segmentation":
        targets = Targets.of_labels({k: f"l{k}" for k in range(1, CLASSES)})
        return images, torch.randint(0, CLASSES, (count, *size), generator=draw, dtype=torch.uint8), "dice_ce", targets
    if network.task == "reconstruction":
        return images, images, "squared", ClassSet(("image",), exclusive=False)
    classes = ClassSet(tuple("abcd"), exclusive=True)
    return images, torch.randint(0, CLASSES, (count, *time_axis), generator=draw), "cross_entropy", classes


def measure(name: str, bf16: bool, compiled: bool = False) -> dict[str, Any]:
    """Return the ratio of our step's time to the peer's."""
    dims, side, batch, options = FORMS[name]
    torch.manual_seed(0)
    out_channels = 1 if networks.load(name).task == "reconstruction" else CLASSES
    ours = networks.create(name, spatial_dims=dims, in_channels=1, out_channels=out_channels, **options).train()
    ours = ours.to(memory_format=channels_last(dims))  # type: ignore[call-overload]
    peer = copy.deepcopy(ours) if compiled else plain(ours)
    faster = torch.compile(peer) if compiled else peer
    images, truth, loss_name, outputs = batch_for(ours, side, batch)
    loss = losses.create(loss_name, outputs)
    size = tuple(images.shape[-dims:])
    training = Training(patch=size, batch=batch, steps=1, loss=loss_name, precision="bf16" if bf16 else "fp32")  # type: ignore[call-arg]
    mine = optimise.create(ours, training)
    usual = torch.optim.AdamW(peer.parameters(), lr=training.learning_rate)
    theirs = optimise.create(peer, training) if compiled else usual

    def seconds(step: Callable[[], object]) -> float:
        begin = time.perf_counter()
        step()
        return time.perf_counter() - begin

    def first() -> object:
        return train_step(ours, mine, loss, training, images, truth)

    def second() -> object:
        if compiled:
            return train_step(faster, theirs, loss, training, images, truth, peer)
        return plain_step(peer, theirs, loss, images, truth, bf16)

    first()
    first_s = seconds(second)
    once = seconds(first) + seconds(second)
    count = max(PAIRS, min(MOST_PAIRS, round(MEASURED_S / once)))
    pairs = []
    for index in range(count):
        if index % 2:
            b, a = seconds(second), seconds(first)
        else:
            a, b = seconds(first), seconds(second)
        pairs.append((a, b))
    ratios = sorted(a / b for a, b in pairs)
    quartiles = statistics.quantiles(ratios, n=4)
    return {
        "network": name, "input": list(images.shape), "precision": training.precision, "pairs": count,
        "ratio": round(statistics.median(ratios), 3), "quartiles": [round(quartiles[0], 3), round(quartiles[2], 3)],
        "ours_ms": round(1000 * statistics.median(a for a, _ in pairs), 1),
        "compiled_ms" if compiled else "plain_ms": round(1000 * statistics.median(b for _, b in pairs), 1),
        **({"first_s": round(first_s, 1)} if compiled else {}),
    }  # fmt: skip


def run() -> None:
    """Measure what was asked for and print one JSON line per network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", choices=[*FORMS, []], help="names; all without")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compiled", action="store_true")
    given = parser.parse_args()
    out = Path("benchmarks/steps.jsonl")
    for name in given.networks or FORMS:
        row = {
            **measure(name, given.bf16, given.compiled),
            "machine": describe()["processor"],
            "threads": torch.get_num_threads(),
        }
        print(json.dumps(row), flush=True)
        with out.open("a") as stream:
            stream.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    run()
