"""What a network is, from its own source: title and paper of its module, and options with their meaning of its `Config`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from striate.core.config import Config
from striate.core.errors import UsageError, expected
from striate.networks import create, load, sized
from striate.networks.network import Network

NEAR = 64
"""Voxels per axis of the images whose cost is told where the network has no size of its own; the nearest that fits."""


@dataclass(frozen=True)
class Option:
    """One option of a network, with its default."""

    name: str
    default: Any
    meaning: str


@dataclass(frozen=True)
class Description:
    """What is known of a network without building it.

    Attributes
    ----------
    name
        In the table of networks.
    title
        First line of its module.
    paper
        The first paper that its module names, up to the year.
    task, dims
        See `Network`.
    """

    name: str
    title: str
    paper: str
    task: str
    dims: tuple[int, ...]
    options: tuple[Option, ...]


def describe(name: str) -> Description:
    """Return what the source of the network `name` says of it.

    Raises
    ------
    UsageError
        When `name` is unknown; the message holds the nearest name.
    """
    kind = load(name)
    told = inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "")
    papers = _papers(told)
    paper = re.match(r".*?\b(19|20)\d\d\b(?!-)", papers)
    title = told.partition("\n")[0].strip().removesuffix(".")
    return Description(name, title, paper.group() if paper else papers, kind.task, kind.dims, options(kind.config_type))


def options(config: type[Config]) -> tuple[Option, ...]:
    """Return the fields of `config`, in order, with what its docstring says of each."""
    _, _, told = inspect.cleandoc(config.__doc__ or "").partition("Attributes\n----------\n")
    meanings: dict[str, str] = {}
    for names, text in re.findall(r"^(\w+(?:, \w+)*)\n((?: .*\n?)+)", told, flags=re.MULTILINE):
        meanings |= dict.fromkeys(names.split(", "), " ".join(text.split()).replace("``", "`"))
    fields = config.model_fields.items()
    return tuple(Option(n, f.get_default(call_default_factory=True), meanings.get(n, "")) for n, f in fields)


def default_size(name: str, spatial_dims: int, options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the size of the images whose cost is told when nobody asks for another.

    It is the option ``input_size`` or its default, where the network has one (the first axis for all, where it has other
    axes), else the nearest to `NEAR` that fits.

    Raises
    ------
    UsageError
        As `create`, and when ``input_size`` is not a number per axis.
    """
    import torch

    own = options.get("input_size") or next((o.default for o in describe(name).options if o.name == "input_size"), None)
    if own and not isinstance(own, Sequence):
        raise UsageError(
            expected("option input_size", f"{own}", "a number for each axis is needed", "Such as [64, 64].")
        )
    if own:
        return tuple(own) if len(own) == spatial_dims else (own[0],) * spatial_dims
    with torch.device("meta"):
        return built(name, (NEAR,) * spatial_dims, options=options).fitting((NEAR,) * spatial_dims)


def built(
    name: str,
    size: tuple[int, ...],
    *,
    in_channels: int = 1,
    out_channels: int = 10,
    options: Mapping[str, Any] | None = None,
) -> Network:
    """Return the network for images of `size`, on torch's ``meta`` device.

    Raises
    ------
    UsageError
        As `create`.
    """
    import torch

    with torch.device("meta"):
        given = sized(name, size, options or {})
        return create(name, spatial_dims=len(size), in_channels=in_channels, out_channels=out_channels, **given)


def sizes(network: Network) -> str:
    """Return which input sizes fit, in words."""
    least = "×".join(map(str, network.least))
    if network.most == network.least:
        return f"{least} only (option input_size)"
    step = f", in steps of {'×'.join(map(str, network.divisor))}" if max(network.divisor) > 1 else ""
    most = f", at most {'×'.join(map(str, network.most))}" if network.most else ""
    return f"{least} or more{step}{most}"


def _papers(told: str) -> str:
    """Return the lines under the heading Paper or Papers, which are indented, as one."""
    found = re.search(r"^Papers?\n((?: .*\n?)+)", told, flags=re.MULTILINE)
    return " ".join(found.group(1).split()) if found else ""
