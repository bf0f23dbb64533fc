"""From a dense network to the gated one, and to stock layers again."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from secateur.learners.fbs.layers import ChannelPruning
from secateur.learners.fbs.ops import EPSILON, subsample
from secateur.pruning.calls import Call, new_layer, record
from secateur.pruning.replay import replay

# How far the first saliencies, whose mean is 1, differ from picture to picture.
FIRST_SPREAD = 0.1


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


def gated(model: keras.Model, density: float, normalize: str, l1: float, balance: float = 0.0) -> keras.Model:
    """The network with every convolution and its norm inside a `ChannelPruning` of the convolution's name.

    At density 1 it is the same function, whatever the normalisation, until the predictors are calibrated or trained.
    Differs from the paper: the norms keep their scales. A scale that became the predictor's bias would rank the
    channels, the same ones first for every picture.

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
        layers = [new_layer(convolution), new_layer(call.layer)]
        name, dtype = f"{convolution.name}_gated", convolution.dtype_policy
        gate = ChannelPruning(layers, density, normalize, l1, balance, name=name, dtype=dtype)
        outputs = gate(x)
        for copy, layer in zip(layers, (convolution, call.layer), strict=True):
            copy.set_weights(layer.get_weights())
        gate.phi.assign(np.zeros(gate.phi.shape))
        return outputs

    return replay(model, call)


def calibrate(model: keras.Model, pictures: Iterable[np.ndarray], seed: int) -> None:
    """Give every predictor a random start that suits the magnitudes it will read, those of the dense network.

    Args:
        model: gated, at density 1, with predictors that are still constant.
        pictures: batches [N, H, W, C].
    """
    gates = gate_layers(model)
    probe = keras.Model(model.input, [gate.input for gate in gates])
    found: list[list[np.ndarray]] = [[] for _ in gates]
    for images in pictures:
        with keras.StatelessScope():  # as in training, with the batch's own statistics, and none of them is kept
            inputs = keras.tree.flatten(probe(images, training=True))
        for rows, one in zip(found, inputs, strict=True):
            rows.append(np.asarray(subsample(one)))
    for k, (gate, rows) in enumerate(zip(gates, found, strict=True)):
        gate.calibrate(np.concatenate(rows), seed + k, FIRST_SPREAD)


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
    predictor.set_weights(list(gate.predictor()))
    nb_kept = int(gate.nb_kept.numpy())
    pi = saliency
    if nb_kept < gate.nb_channels:
        # Of equal saliencies `top_k` takes those of lower index, as training does.
        _, first = keras.ops.top_k(saliency, nb_kept)
        pi = keras.ops.multiply(saliency, keras.ops.sum(keras.ops.one_hot(first, gate.nb_channels), axis=1))
    if gate.normalize == "sum":
        mean = keras.ops.mean(pi, axis=-1, keepdims=True)
        pi = keras.ops.divide(pi, keras.ops.add(mean, EPSILON))
    return pi
