"""Fresh copies of layers, with the same weights or other ones."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from secateur.utils.errors import UsageError


def new_layer(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """A fresh layer of the same configuration (a clone function that returned the old one would alter the model).

    Args:
        changes: configuration entries that are to be different.

    Raises:
        UsageError: the configuration does not tell everything, or names a function or class that is not registered.
    """
    if type(layer) is keras.layers.Lambda:
        # Its configuration holds the function as byte code, which Keras does not read back; the function is at hand.
        known = {"name": layer.name, "arguments": layer.arguments, "mask": layer.mask, "dtype": layer.dtype_policy}
        return keras.layers.Lambda(layer.function, output_shape=layer._output_shape, **(known | changes))
    try:
        return type(layer).from_config(layer.get_config() | changes)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{layer.name} ({type(layer).__name__}) cannot be made again from its get_config(): its own classes and "
            f"functions need @keras.saving.register_keras_serializable() ({str(error).splitlines()[0]})"
        ) from error


def call_with(
    layer: keras.layers.Layer, weights: Sequence[np.ndarray], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Any]:
    """Call a fresh layer on symbolic tensors and give it its weights; the outputs, flat."""
    with _no_random_values(layer):
        outputs = keras.tree.flatten(layer(*args, **kwargs))
    if weights:
        set_weights(layer, weights)
    return outputs


def call_copy(layer: keras.layers.Layer, x: Any, **changes: Any) -> Any:
    """What a copy of a layer with the same weights makes of a symbolic tensor; `changes` as for `new_layer`."""
    (outputs,) = call_with(new_layer(layer, **changes), weights_of(layer), (x,), {})
    return outputs


def weights_of(layer: keras.layers.Layer) -> list[np.ndarray]:
    """Of a layer; [] for an operation, which is none."""
    return layer.get_weights() if getattr(layer, "weights", None) else []


def set_weights(target: keras.layers.Layer, weights: Sequence[np.ndarray]) -> None:
    """Give a layer or a model its weights, as its method does, and renew what layers computed from their old ones.

    `Normalization` works with constants that it makes of its weights when it is built, adapted or loaded.
    """
    target.set_weights(weights)
    for layer in layers_inside(target):
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def layers_inside(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """The layers of a model at every depth, not the models; of a layer, itself."""
    if isinstance(layer, keras.Model):
        for inner in layer.layers:
            yield from layers_inside(inner)
    else:
        yield layer


@contextlib.contextmanager
def _no_random_values(layer: keras.layers.Layer) -> Iterator[None]:
    """Inside, the layer is built with zeros: drawing random ones takes longer than all the rest of making a copy."""
    drawn = {
        name: value
        for name, value in vars(layer).items()
        if name.endswith("_initializer") and isinstance(value, keras.initializers.Initializer)
    }
    for name in drawn:
        setattr(layer, name, keras.initializers.Zeros())
    try:
        yield
    finally:
        for name, value in drawn.items():
            setattr(layer, name, value)
