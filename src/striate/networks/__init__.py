"""Networks: one architecture per file, found by name in one table.

To add one, copy a neighbour (`unet.py`), add its line to `NETWORKS`, write ``docs/networks/NAME.md`` and run
``pytest tests/networks``: the contract suite tests it because it is in the table, and prints the frozen numbers that
``tests/golden/networks.json`` needs. Nothing here loads torch before a network is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, get_args

from striate.core.errors import PlanError, UsageError, expected
from striate.core.names import did_you_mean, lookup
from striate.core.task_kind import TaskKind

if TYPE_CHECKING:
    from striate.networks.counting import Cost
    from striate.networks.network import Network

NETWORKS: dict[str, str] = {
    "alexnet": "striate.networks.alexnet:AlexNet",
    "autoencoder": "striate.networks.autoencoder:Autoencoder",
    "cnn_rnn": "striate.networks.cnn_rnn:CNNRNN",
    "conv_lstm": "striate.networks.conv_lstm:ConvLSTMNetwork",
    "deep_autoencoder": "striate.networks.deep_autoencoder:DeepAutoencoder",
    "deepmedic": "striate.networks.deepmedic:DeepMedic",
    "googlenet": "striate.networks.googlenet:GoogLeNet",
    "hmax": "striate.networks.hmax:HMAX",
    "inception_3d": "striate.networks.inception_3d:Inception3D",
    "inception_resnet_v2": "striate.networks.inception_resnet_v2:InceptionResNetV2",
    "inception_v3": "striate.networks.inception_v3:InceptionV3",
    "inception_v4": "striate.networks.inception_v4:InceptionV4",
    "lenet5": "striate.networks.lenet5:LeNet5",
    "lenet5_modern": "striate.networks.lenet5_modern:LeNet5Modern",
    "mlp": "striate.networks.mlp:MLP",
    "neocognitron": "striate.networks.neocognitron:Neocognitron",
    "residual_unet": "striate.networks.residual_unet:ResidualUNet",
    "scattering": "striate.networks.scattering:ScatteringNetwork",
    "small_unet": "striate.networks.small_unet:SmallUNet",
    "unet": "striate.networks.unet:UNet",
    "unet_2015": "striate.networks.unet_2015:UNet2015",
    "unet_3d_2016": "striate.networks.unet_3d_2016:UNet3D2016",
}

SEQUENCE_LENGTH = 8
"""Images of a sequence when its cost is counted and no other number is asked for."""

ARGUMENTS = ("name", "spatial_dims", "in_channels", "out_channels")
"""Arguments of `create`; no network may have an option of this name."""

__all__ = ["NETWORKS", "cost", "create", "divisor", "load", "names", "refuse_arguments", "sized"]


def names(task: str | None = None) -> tuple[str, ...]:
    """Return the names of all networks (of those for one task), sorted.

    Raises
    ------
    UsageError
        When `task` is none that networks are for.
    """
    if task is not None:
        lookup("task", task, dict.fromkeys(get_args(TaskKind)))
    return tuple(n for n in sorted(NETWORKS) if task is None or load(n).task == task)


def load(name: str) -> type[Network]:
    """Return the class of a network; its attribute ``config_type`` holds the options and their defaults.

    Raises
    ------
    UsageError
        When `name` is unknown; the message holds the nearest name.
    """
    home, _, noun = lookup("network", name, NETWORKS).partition(":")
    found: type[Network] = getattr(importlib.import_module(home), noun)
    return found


def create(name: str, spatial_dims: int = 2, in_channels: int = 1, out_channels: int = 10, **options: Any) -> Network:
    """Build a network with fresh weights, drawn from torch's global generator.

    Parameters
    ----------
    name
        One of `names`.
    spatial_dims
        2 or 3; one of the network's ``dims``.
    in_channels, out_channels
        Channels of the image; classes (or regions) of the prediction.
    **options
        Fields of the network's ``Config``.

    Raises
    ------
    UsageError
        When the name or an option is unknown (with the nearest name), or a value is impossible.
    """
    kind = load(name)
    if not isinstance(spatial_dims, int) or spatial_dims not in kind.dims:
        known = " or ".join(map(str, kind.dims))
        raise UsageError(expected(f"network {name}", f"spatial_dims is {spatial_dims!r}", f"{known} is needed"))
    for key, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        if not isinstance(value, int) or value < 1:
            raise UsageError(
                expected(f"network {name}", f"{key} is {value!r}", "a whole number of at least 1 is needed")
            )
    try:
        return kind(spatial_dims, in_channels, out_channels, kind.config_type.parse(options, f"network {name}"))
    except PlanError as error:
        raise UsageError(error.message) from error


def cost(
    name: str,
    input_size: tuple[int, ...],
    *,
    in_channels: int = 1,
    out_channels: int = 10,
    training: bool = True,
    length: int = SEQUENCE_LENGTH,
    **options: Any,
) -> Cost:
    """Count parameters, multiply-accumulates, activations and receptive field, per layer and in total.

    Nothing is allocated: the network is built on torch's ``meta`` device.

    Parameters
    ----------
    name, in_channels, out_channels, **options
        As for `create`.
    input_size
        Voxels along each spatial axis; its length decides between 2D and 3D. A network that is built for one size, by an
        option of the same name, is built for this one.
    training
        Count what runs while training (all heads of deep supervision), as nnU-Net's published figures do; False
        counts what runs while predicting.
    length
        Images of a sequence; without meaning for networks of single images.

    Raises
    ------
    UsageError
        As `create`, and when `input_size` does not fit the network; of images that are too small, with the smallest that
        would do and the networks that take them.
    """
    import torch

    from striate.networks.counting import count

    given: Any = input_size
    size = tuple(given) if isinstance(given, Sequence) else ()
    if not size or any(isinstance(n, bool) or not isinstance(n, Integral) or int(n) < 1 for n in size):
        raise UsageError(
            expected(f"network {name}", f"input_size is {input_size!r}", "at least one voxel along each axis is needed",
                     "Such as (64, 64).")
        )  # fmt: skip
    try:
        with torch.device("meta"):
            given = sized(name, size, options)
            network = create(
                name, spatial_dims=len(size), in_channels=in_channels, out_channels=out_channels, **given
            )  # fmt: skip
        time = (length,) if network.task == "sequence" else ()
        return count(network, (*time, in_channels, *size), training=training)
    except UsageError as error:
        from striate.networks.fits import too_small

        told = too_small(name, size, options, in_channels=in_channels, out_channels=out_channels)
        if told is None:
            raise
        raise UsageError(told) from error


def sized(name: str, size: tuple[int, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `options` with the option ``input_size`` set to `size`, where the network has one and it is not given.

    Raises
    ------
    UsageError
        When `name` is unknown, and as `refuse_arguments`.
    """
    refuse_arguments(name, options)
    return {**({"input_size": list(size)} if "input_size" in load(name).config_type.model_fields else {}), **options}


def refuse_arguments(name: str, options: Mapping[str, Any]) -> None:
    """Refuse what `create` takes as an argument of its own; other unknown options are refused by `create`.

    Raises
    ------
    UsageError
        With the nearest name.
    """
    wrong = next((key for key in ARGUMENTS if key in options), None)
    if wrong is not None:
        raise UsageError(
            f"network {name}: unknown key '{wrong}'. {did_you_mean(wrong, load(name).config_type.model_fields)}"
        )


def divisor(name: str, *, spatial_dims: int = 2, **options: Any) -> tuple[int, ...]:
    """Return the numbers that the input sizes must be multiples of, per axis.

    Raises
    ------
    UsageError
        As `create`.
    """
    import torch

    with torch.device("meta"):
        return create(name, spatial_dims=spatial_dims, **options).divisor
