"""Which networks take images of a size, and the smallest that one takes: asked of the networks of the table themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from striate.core.errors import UsageError, expected
from striate.networks import load, names
from striate.networks.describe import built
from striate.networks.network import Network

MOST_LEAST = 512
"""Edge up to which the smallest image of a network that is built for one size is looked for."""

Options = Mapping[str, Any]


def too_small(
    name: str, size: tuple[int, ...], options: Options, *, in_channels: int = 1, out_channels: int = 10
) -> str | None:
    """Return the sentence on images of `size` (voxels per axis) that are too small for a network; None where they are not.

    It names the smallest size, and the networks that take `size` as they are by default.
    """
    found = smallest(name, size, options, in_channels, out_channels)
    if found is None or all(n >= low for n, low in zip(size, found.least, strict=True)):
        return None
    return small_sentence(name, size, found, able(size))


def smallest(
    name: str, size: tuple[int, ...], options: Options, in_channels: int = 1, out_channels: int = 10
) -> Network | None:
    """Return the network built for its smallest image with the axes of `size`, on torch's ``meta`` device.

    None where it cannot be built at all.
    """
    own = "input_size" in load(name).config_type.model_fields
    for edge in range(1, MOST_LEAST + 1) if own else (max(size),):
        with suppress(UsageError):
            return built(name, (edge,) * len(size), in_channels=in_channels, out_channels=out_channels, options=options)
    return None


def able(size: tuple[int, ...], options_of: Callable[[str], Options] = lambda name: {}) -> dict[str, tuple[str, ...]]:
    """Return task → the networks that take images of `size` (voxels per axis), each with its options."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names():
        with suppress(UsageError):
            if built(name, size, options=options_of(name)).fitting(size) == size:
                task = load(name).task
                found[task] = (*found.get(task, ()), name)
    return found


def small_sentence(
    name: str, size: tuple[int, ...], found: Network, takers: Mapping[str, tuple[str, ...]], then: str = ""
) -> str:
    """Write that images of `size` are too small for a network.

    Parameters
    ----------
    name, found
        The network, as `smallest` gives it.
    size
        Voxels per axis.
    takers
        Task → the networks that take them.
    then
        What is done all the same; a full sentence.
    """
    task, shown = load(name).task, _times(size)
    step = f" (in steps of {_times(found.divisor)})" if max(found.divisor) > 1 else ""
    own, others = takers.get(task, ()), [n for kind, some in takers.items() if kind != task for n in some]
    told = f"For {task} these take {shown}: {', '.join(own)}" if own else f"No network for {task} takes {shown}"
    told += f"; for other tasks: {', '.join(sorted(others))}." if others else "."
    want = f"at least {_times(found.least)}{step} are needed"
    return expected(f"network {name}", f"images of {shown} voxels", want, f"{then} {told}".strip())


def _times(values: tuple[int, ...]) -> str:
    return "×".join(map(str, values))
