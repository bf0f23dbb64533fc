"""What each kind of Keras layer does to channels: which it makes, which it passes on, where its weights hold them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from secateur.pruning import rule_kinds
from secateur.pruning.rule_kinds import Axes, Joins, Makes, Merges, Passes, Rule

layers = keras.layers

ELEMENTWISE = Passes()
PADDING = Passes(constant=False)
CONVOLUTION = Makes({"filters": "made"}, ((-2, -1), (None, -1)))
TRANSPOSED = Makes({"filters": "made"}, ((-1, -2), (None, -1)))
SEPARABLE = Makes({"filters": "made"}, ((-2, None), (-2, -1), (None, -1)))
DEPTHWISE = Passes(constant=False, axes=((-2, None), (None, -1)), flow=rule_kinds.multiplied)
# A convolution with as many groups as input channels.
DEPTHWISE_BY_GROUPS = Passes(
    constant=False,
    config={"filters": "made", "groups": "read"},
    axes=((None, -1), (None, -1)),
    flow=rule_kinds.multiplied,
)
RESHAPING = Passes(constant=False, flow=rule_kinds.rearranged)

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
    layers.BatchNormalization: Passes(flow=rule_kinds.on_last_axis),
    layers.GroupNormalization: Passes(
        constant=False, config={"groups": "share"}, flow=rule_kinds.group_norm_flow, tie=rule_kinds.norm_groups
    ),
    layers.PReLU: Passes(flow=rule_kinds.per_channel),
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
    **dict.fromkeys((layers.Maximum, layers.Minimum), Merges()),
    layers.Multiply: Merges(multiplies=True),
    layers.Concatenate: Joins(),
}  # fmt: skip
# Classes of Keras that it does not export by name: parts of keras.applications, and what keras.ops leaves in a graph.
_INTERNAL: dict[str, Rule] = {
    "LayerScale": Passes(config={"projection_dim": "made"}),
    "StochasticDepth": ELEMENTWISE,
    "CustomScaleLayer": Merges(sums=True),
    **dict.fromkeys(("Add", "Subtract"), Merges(sums=True)),
    **dict.fromkeys(("Maximum", "Minimum"), Merges()),
    "Multiply": Merges(multiplies=True),
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
