"""The kinds of rules for layers, and how the layers that rearrange channels do it.

A flow is an integer array [C]: the channel number of every position of a tensor's last axis.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

layers = keras.layers

# Per weight array, the axes of (channels read, channels made); None where the array has no such axis.
Axes = Sequence[tuple[int | None, int | None]]
# Configuration entries that depend on the channels, and how: "made" or "read" is their number, "share" shrinks in
# proportion, "vector" holds a value for each of them (or one for all), "last" is a shape that ends with their number.
Config = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Makes:
    """A layer that makes its own channels out of all it reads: convolutions, dense layers.

    Attributes:
        config: as above.
        axes: of the kernel first.
    """

    config: Config
    axes: Axes


@dataclasses.dataclass(frozen=True)
class Passes:
    """A layer with one input whose output channel c is a function of input channel c alone.

    Attributes:
        constant: whether a channel that is the same at every place stays so.
        config: as above.
        axes: default: the channels are the last axis of every weight array.
        flow: (layer, flow, input shape, output shape) to the flow behind it, None if that cannot be told; default: the
            same flow.
        tie: (layer, flow) to numbers of the same length; channels with equal ones must go together.
    """

    constant: bool = True
    config: Config = dataclasses.field(default_factory=dict)
    axes: Axes | None = None
    flow: Callable[[keras.layers.Layer, np.ndarray, tuple, tuple], np.ndarray | None] | None = None
    tie: Callable[[keras.layers.Layer, np.ndarray], np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class Merges:
    """A layer whose output channel c is a function of channel c of each of its inputs.

    Attributes:
        sums: whether it adds them up, as the stream of a residual network does.
        multiplies: whether a channel that is zero in one input is zero behind it.
    """

    sums: bool = False
    multiplies: bool = False


@dataclasses.dataclass(frozen=True)
class Joins:
    """Concatenation."""


Rule = Makes | Passes | Merges | Joins


def multiplied(layer: keras.layers.Layer, flow: np.ndarray, input_shape: tuple, output_shape: tuple) -> np.ndarray:
    return np.repeat(flow, output_shape[-1] // len(flow))


def on_last_axis(
    layer: keras.layers.Layer, flow: np.ndarray, input_shape: tuple, output_shape: tuple
) -> np.ndarray | None:
    return flow if layer.axis in (-1, len(output_shape) - 1) else None


def per_channel(
    layer: keras.layers.Layer, flow: np.ndarray, input_shape: tuple, output_shape: tuple
) -> np.ndarray | None:
    return flow if all(weight.shape[-1] == len(flow) for weight in layer.weights) else None


def rearranged(
    layer: keras.layers.Layer, flow: np.ndarray, input_shape: tuple, output_shape: tuple
) -> np.ndarray | None:
    """The flow behind a reshape: numbers go through it like values. None if a channel ends up on another axis."""
    shape = input_shape[1:]
    if None in shape:
        return None
    numbers = np.broadcast_to(flow, shape)
    if isinstance(layer, layers.Permute):
        moved = np.transpose(numbers, [axis - 1 for axis in layer.dims])
    else:
        moved = numbers.reshape(-1) if isinstance(layer, layers.Flatten) else numbers.reshape(output_shape[1:])
    rows = moved.reshape(-1, moved.shape[-1])
    return rows[0].copy() if (rows == rows[0]).all() else None


def norm_groups(layer: keras.layers.Layer, flow: np.ndarray) -> np.ndarray:
    """The norm's group of each channel: a group goes as a whole or not at all."""
    groups = len(flow) if layer.groups == -1 else layer.groups
    return np.repeat(np.arange(groups), len(flow) // groups)


def group_norm_flow(
    layer: keras.layers.Layer, flow: np.ndarray, input_shape: tuple, output_shape: tuple
) -> np.ndarray | None:
    return None if layer.groups == 1 else on_last_axis(layer, flow, input_shape, output_shape)
