"""From a dense network to the gated one, and to stock layers again."""

from typing import Any

import keras
import numpy as np

from secateur.learners.fbs.layers import ChannelPruning
from secateur.learners.fbs.ops import EPSILON
from secateur.pruning.calls import Call, new_layer, record
from secateur.pruning.replay import replay

# Of a scale that becomes a predictor's bias: nearer to 0 the offset that is divided by it would explode.
LEAST_SCALE = 1e-2


def units(model: keras.Model) -> dict[str, str]:
    """The norm that each convolution is followed by, for those that are gated: all plain ones with a full norm."""
    calls = record(model).calls
    readers = {id(call.inputs[0]): call.layer for call in calls if len(call.inputs) == 1}
    found = {}
    for call in calls:
        norm = readers.get(id(call.outputs[0]))
        plain = type(call.layer) is keras.layers.Conv2D and call.layer.groups == 1 and call.layer.bias is None
        if plain and isinstance(norm, keras.layers.BatchNormalization) and norm.scale and norm.center:
            found[call.layer.name] = norm.name
    return found


def gated(model: keras.Model, density: float, normalize: str, l1: float) -> keras.Model:
    """The network with every convolution and its norm inside a `ChannelPruning` of the convolution's name.

    At density 1 it is the same function, whatever the normalisation: the norm's scale becomes the predictor's bias, its
    offset is divided by it, and filters of negative scale change their sign. (A scale of nearly 0 is raised.)

    Args:
        model: in training form.
    """
    pairs = units(model)
    norms = {norm: convolution for convolution, norm in pairs.items()}

    def call(call: Call, x: Any) -> Any:
        if call.layer.name in pairs:
            return x  # the norm behind it, whose input this becomes, makes both
        if call.layer.name not in norms:
            return None
        convolution = model.get_layer(norms[call.layer.name])
        layers = [new_layer(convolution), new_layer(call.layer, scale=False)]
        gate = ChannelPruning(
            layers, density, normalize, l1, name=f"{convolution.name}_gated", dtype=convolution.dtype_policy
        )
        outputs = gate(x)
        _begin_with(gate, convolution, call.layer)
        return outputs

    return replay(model, call)


def _begin_with(gate: ChannelPruning, convolution: keras.layers.Conv2D, norm: keras.layers.BatchNormalization) -> None:
    scale, offset, mean, variance = norm.get_weights()
    sign = np.where(scale < 0, -1.0, 1.0).astype(np.float32)
    scale = np.maximum(np.abs(scale), LEAST_SCALE)
    gate.layers[0].set_weights([convolution.kernel.numpy() * sign])
    gate.layers[1].set_weights([offset / scale, mean * sign, variance])
    gate.rho.assign(scale)
    gate.phi.assign(np.zeros(gate.phi.shape))
    gate.level.assign(scale.mean())


def gate_layers(model: keras.Model) -> list[ChannelPruning]:
    """In the order of the network."""
    return [call.layer for call in record(model).calls if isinstance(call.layer, ChannelPruning)]


def copied(model: keras.Model, dense: keras.Model, normalize: str) -> keras.Model:
    """A gated network with the weights of another one, built on `dense`: for another precision, say."""
    copy = gated(dense, 1.0, normalize, 0.0)
    copy.set_weights(model.get_weights())
    return copy


def stock(model: keras.Model) -> keras.Model:
    """The gated network as stock layers and `keras.ops`: dense convolutions and a multiplication."""

    def written(call: Call, x: Any) -> Any:
        if not isinstance(call.layer, ChannelPruning):
            return None
        gate = call.layer
        outputs = x
        for layer in gate.layers:
            copy = new_layer(layer, dtype="float32")
            outputs = copy(outputs)
            copy.set_weights(layer.get_weights())
        return keras.ops.multiply(outputs, keras.ops.expand_dims(pi_of(gate, x), (1, 2)))

    return replay(model, written)


def pi_of(gate: ChannelPruning, x: Any) -> Any:
    """The gate's values [N, C] from its input, in `keras.ops` and one dense layer."""
    predictor = keras.layers.Dense(gate.nb_channels, activation="relu", name=f"{gate.name}_predictor")
    saliency = predictor(keras.ops.mean(keras.ops.absolute(x), axis=(1, 2)))
    predictor.set_weights([gate.phi.numpy(), gate.rho.numpy()])
    nb_kept = int(gate.nb_kept.numpy())
    pi = saliency
    if nb_kept < gate.nb_channels:
        # Of equal saliencies `top_k` takes those of lower index, as training does.
        _, first = keras.ops.top_k(saliency, nb_kept)
        pi = keras.ops.multiply(saliency, keras.ops.sum(keras.ops.one_hot(first, gate.nb_channels), axis=1))
    if gate.normalize == "sum":
        mean = keras.ops.mean(pi, axis=-1, keepdims=True)
        pi = keras.ops.multiply(keras.ops.divide(pi, keras.ops.add(mean, EPSILON)), float(gate.level.numpy()))
    return pi
