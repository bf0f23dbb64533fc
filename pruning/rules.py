"""What each kind of Keras layer does to channels: which it makes, which it passes on, where its weights hold them.

A flow is an integer array [C]: the channel number of every position of a tensor's last axis.
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

layers = keras.layers

# Layers whose output channel c is a function of input channel c alone, the same at every place and for every channel.
ELEMENTWISE = (
    layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Identity, layers.Dropout,
    layers.SpatialDropout1D, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout, layers.Rescaling,
)  # fmt: skip
# Layers that mix places, never channels. What is constant over the picture stays as it is.
SPATIAL = (
    layers.MaxPooling1D, layers.MaxPooling2D, layers.AveragePooling1D, layers.AveragePooling2D,
    layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D,
    layers.UpSampling1D, layers.UpSampling2D, layers.Cropping1D, layers.Cropping2D,
)  # fmt: skip
PADDING = (layers.ZeroPadding1D, layers.ZeroPadding2D)
RESHAPING = (layers.Flatten, layers.Reshape, layers.Permute)
MERGING = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
SUMMING = (layers.Add, layers.Subtract, layers.Average)
# Activations that mix channels.
MIXING = ("softmax", "log_softmax", "sparsemax")


class Weighted(NamedTuple):
    """A layer that makes its own channels out of all it reads.

    Attributes:
        units: the configuration entry that holds the number of channels made.
        axes: per weight array, the axes of (channels read, channels made); None where the array has no such axis.
    """

    units: str
    axes: Sequence[tuple[int | None, int | None]]


PLAIN = Weighted("filters", ((-2, -1), (None, -1)))
WEIGHTED: dict[type, Weighted] = {
    layers.Conv1D: PLAIN,
    layers.Conv2D: PLAIN,
    layers.Conv2DTranspose: Weighted("filters", ((-1, -2), (None, -1))),
    layers.Dense: Weighted("units", ((-2, -1), (None, -1))),
}


def weighted(layer: keras.layers.Layer) -> Weighted | None:
    """The rule of a layer that makes channels; None for every other layer."""
    if isinstance(layer, layers.DepthwiseConv2D) or getattr(layer, "groups", 1) != 1:
        return None
    return next((rule for kind, rule in WEIGHTED.items() if isinstance(layer, kind)), None)


def mixes_channels(layer: keras.layers.Layer) -> bool:
    """Whether the layer's own activation reads several channels at once."""
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    return isinstance(layer, layers.Softmax) or name in MIXING


def passed(layer: keras.layers.Layer, flow: np.ndarray, input_shape: tuple, output_shape: tuple) -> np.ndarray | None:
    """The flow behind a layer that makes no channels and has one input; None if its channels cannot be told.

    Args:
        flow: channel numbers [C] on the last axis of the input.
        input_shape, output_shape: of the call, the batch first.
    """
    last = len(output_shape) - 1
    if mixes_channels(layer) or getattr(layer, "data_format", "channels_last") != "channels_last":
        return None
    if isinstance(layer, (*ELEMENTWISE, *SPATIAL, *PADDING)):
        return flow
    if isinstance(layer, layers.BatchNormalization):
        return flow if layer.axis in (-1, last) else None
    if isinstance(layer, layers.PReLU):
        return flow if layer.alpha.shape[-1] == len(flow) else None
    if isinstance(layer, layers.DepthwiseConv2D):
        return np.repeat(flow, layer.depth_multiplier)
    if isinstance(layer, RESHAPING):
        return _rearranged(layer, flow, input_shape[1:])
    return None


def _rearranged(layer: keras.layers.Layer, flow: np.ndarray, shape: tuple) -> np.ndarray | None:
    """The flow behind a reshape: numbers go through it like values. None if a channel ends up on another axis."""
    if None in shape:
        return None
    numbers = np.broadcast_to(flow, shape)
    if isinstance(layer, layers.Permute):
        moved = np.transpose(numbers, [axis - 1 for axis in layer.dims])
    else:
        moved = numbers.reshape(-1) if isinstance(layer, layers.Flatten) else numbers.reshape(layer.target_shape)
    rows = moved.reshape(-1, moved.shape[-1])
    return rows[0].copy() if (rows == rows[0]).all() else None
