"""What each kind of Keras layer does to channels: which it makes, which it passes on, where its weights hold them.

A flow is an integer array [C]: the channel number of every position of a tensor's last axis.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
    """

    sums: bool = False


@dataclasses.dataclass(frozen=True)
class Joins:
    """Concatenation."""


Rule = Makes | Passes | Merges | Joins

ELEMENTWISE = Passes()
PADDING = Passes(constant=False)
CONVOLUTION = Makes({"filters": "made"}, ((-2, -1), (None, -1)))
TRANSPOSED = Makes({"filters": "made"}, ((-1, -2), (None, -1)))
SEPARABLE = Makes({"filters": "made"}, ((-2, None), (-2, -1), (None, -1)))


def _multiplied(layer: keras.layers.Layer, flow: np.ndarray, input_shape: tuple, output_shape: tuple) -> np.ndarray:
    return np.repeat(flow, output_shape[-1] // len(flow))


def _on_last_axis(
    layer: keras.layers.Layer, flow: np.ndarray, input_shape: tuple, output_shape: tuple
) -> np.ndarray | None:
    return flow if layer.axis in (-1, len(output_shape) - 1) else None


def _per_channel(
    layer: keras.layers.Layer, flow: np.ndarray, input_shape: tuple, output_shape: tuple
) -> np.ndarray | None:
    return flow if all(weight.shape[-1] == len(flow) for weight in layer.weights) else None


def _rearranged(
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


def _norm_groups(layer: keras.layers.Layer, flow: np.ndarray) -> np.ndarray:
    """The norm's group of each channel: a group goes as a whole or not at all."""
    groups = len(flow) if layer.groups == -1 else layer.groups
    return np.repeat(np.arange(groups), len(flow) // groups)


def _group_norm_flow(
    layer: keras.layers.Layer, flow: np.ndarray, input_shape: tuple, output_shape: tuple
) -> np.ndarray | None:
    return None if layer.groups == 1 else _on_last_axis(layer, flow, input_shape, output_shape)


DEPTHWISE = Passes(constant=False, axes=((-2, None), (None, -1)), flow=_multiplied)
# A convolution with as many groups as input channels.
DEPTHWISE_BY_GROUPS = Passes(
    constant=False, config={"filters": "made", "groups": "read"}, axes=((None, -1), (None, -1)), flow=_multiplied
)
RESHAPING = Passes(constant=False, flow=_rearranged)

# Activations that treat every number alone; what a user registers joins them. All others may mix channels.
_ELEMENTWISE_FUNCTIONS = tuple(
    getattr(keras.activations, name)
    for name in (
        "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
        "linear", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softplus",
        "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh", "tanh_shrink", "threshold",
    )
)  # fmt: skip
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_RULES: dict[Any, Rule] = {
    **dict.fromkeys(_ELEMENTWISE_FUNCTIONS, ELEMENTWISE),
    **dict.fromkeys(_CONVOLUTIONS, CONVOLUTION),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), TRANSPOSED),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), SEPARABLE),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), DEPTHWISE),
    layers.Dense: Makes({"units": "made"}, ((-2, -1), (None, -1))),
    layers.Embedding: Makes({"output_dim": "made"}, ((None, -1),)),
    layers.BatchNormalization: Passes(flow=_on_last_axis),
    layers.GroupNormalization: Passes(
        constant=False, config={"groups": "share"}, flow=_group_norm_flow, tie=_norm_groups
    ),
    layers.PReLU: Passes(flow=_per_channel),
    layers.Rescaling: Passes(config={"scale": "vector", "offset": "vector"}),
    **dict.fromkeys(
        (
            layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Identity, layers.Dropout,
            layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D, layers.AlphaDropout,
            layers.GaussianNoise, layers.GaussianDropout, layers.ActivityRegularization,
            # These mix places, never channels; what is constant over the picture stays as it is.
            layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D,
            layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D,
            layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D,
            layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D,
            layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D,
            layers.Cropping1D, layers.Cropping2D, layers.Cropping3D,
        ),
        ELEMENTWISE,
    ),
    **dict.fromkeys((layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D, layers.Resizing), PADDING),
    **dict.fromkeys((layers.Flatten, layers.Permute), RESHAPING),
    layers.Reshape: dataclasses.replace(RESHAPING, config={"target_shape": "last"}),
    **dict.fromkeys((layers.Add, layers.Subtract, layers.Average), Merges(sums=True)),
    **dict.fromkeys((layers.Multiply, layers.Maximum, layers.Minimum), Merges()),
    layers.Concatenate: Joins(),
}  # fmt: skip
# Classes of Keras that it does not export by name: parts of keras.applications, and what keras.ops leaves in a graph.
_INTERNAL: dict[str, Rule] = {
    "LayerScale": Passes(config={"projection_dim": "made"}),
    "StochasticDepth": ELEMENTWISE,
    "CustomScaleLayer": Merges(sums=True),
    **dict.fromkeys(("Add", "Subtract"), Merges(sums=True)),
    **dict.fromkeys(("Multiply", "Maximum", "Minimum"), Merges()),
    **dict.fromkeys(
        ("Relu", "Relu6", "Sigmoid", "HardSigmoid", "HardSwish", "Silu", "Tanh", "Gelu", "Elu"), ELEMENTWISE
    ),
}
SPATIAL_SUFFIX = ("Pooling", "UpSampling", "Cropping")


def register_rule(kind: type | Callable, rule: Rule) -> None:
    """Tell how a layer class of one's own treats channels; without it they stay, since a guess could be wrong.

    Subclasses need a rule of their own. An activation function that treats every number alone is registered as
    `ELEMENTWISE`.
    """
    _RULES[kind] = rule


def find(layer: keras.layers.Layer) -> Rule | None:
    """The rule of a layer; None for one that has none, or whose settings it does not cover."""
    if mixes_channels(layer) and not isinstance(_RULES.get(type(layer)), Makes):
        return None
    if getattr(layer, "data_format", None) == "channels_first":
        return None
    if type(layer) in _CONVOLUTIONS and layer.groups > 1 and layer.kernel.shape[-2] == 1:
        return DEPTHWISE_BY_GROUPS
    if type(layer) in _RULES:
        return _RULES[type(layer)]
    own = type(layer).__module__.split(".")[0] == "keras"
    return _INTERNAL.get(type(layer).__name__) if own else None


def makes(layer: keras.layers.Layer) -> Makes | None:
    """The rule of a layer that makes channels; None for every other layer."""
    rule = find(layer)
    return rule if isinstance(rule, Makes) else None


def axes_of(layer: keras.layers.Layer) -> Axes:
    """Where each weight array of a layer with a rule holds its channels."""
    rule = find(layer)
    return getattr(rule, "axes", None) or [(None, -1)] * len(getattr(layer, "weights", ()))


def nb_groups(layer: keras.layers.Layer) -> int:
    """Of a grouped convolution; 1 for every other layer."""
    return layer.groups if type(layer) in _CONVOLUTIONS else 1


def mixes_channels(layer: keras.layers.Layer) -> bool:
    """Whether the layer's own activation may read several channels at once: nobody said that it does not."""
    activation = getattr(layer, "activation", None)
    key = type(activation) if isinstance(activation, layers.Layer) else activation
    return activation is not None and _RULES.get(key) is not ELEMENTWISE


def mixes_places(layer: keras.layers.Layer) -> bool:
    """Whether the layer only pools, repeats or cuts places: of a constant nothing changes."""
    return any(part in type(layer).__name__ for part in SPATIAL_SUFFIX)
