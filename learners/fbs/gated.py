"""From a dense network to the gated one, and to stock layers again."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from secateur.export.equivalence import in_batches
from secateur.learners.fbs.layers import ChannelPruning
from secateur.learners.fbs.ops import EPSILON, subsample
from secateur.learners.fbs.structure import reads_nonnegative, units
from secateur.pruning.calls import Call, record
from secateur.pruning.copies import call_copy, new_layer
from secateur.pruning.replay import replay

# Of a convolution's name, for the layer that gates it.
SUFFIX = "_gated"
# How far the first saliencies, whose mean is 1, differ from picture to picture.
FIRST_SPREAD = 0.1


def gated(
    model: keras.Model, density: float, normalize: str, l1: float, balance: float = 0.0, scope: str = "all"
) -> keras.Model:
    """The network with every convolution that can be gated and its norm inside a `ChannelPruning` of its name.

    At density 1 it is the same function, whatever the normalisation, until the predictors are calibrated or trained.
    Differs from the paper: the norms keep their scales. A scale that became the predictor's bias would rank the
    channels, the same ones first for every picture.

    Args:
        model: in training form.
        scope: as of `structure.units`.
    """
    pairs = units(model, scope)
    norms = {norm: convolution for convolution, norm in pairs.items()}
    behind_relus = reads_nonnegative(model)

    def call(call: Call, x: Any) -> Any:
        if call.layer.name in pairs:
            return x  # the norm behind it, whose input this becomes, makes both
        if call.layer.name not in norms:
            return None
        convolution = model.get_layer(norms[call.layer.name])
        layers = [new_layer(convolution), new_layer(call.layer)]
        name, dtype = f"{convolution.name}{SUFFIX}", convolution.dtype_policy
        nonnegative = convolution.name in behind_relus
        gate = ChannelPruning(layers, density, normalize, l1, balance, nonnegative, name=name, dtype=dtype)
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
    gates, probe = gate_layers(model), inputs_of_gates(model)
    found: list[list[np.ndarray]] = [[] for _ in gates]
    for images in pictures:
        with keras.StatelessScope():  # as in training, with the batch's own statistics, and none of them is kept
            inputs = keras.tree.flatten(probe(images, training=True))
        for rows, one in zip(found, inputs, strict=True):
            rows.append(np.asarray(subsample(one)))
    for k, (gate, rows) in enumerate(zip(gates, found, strict=True)):
        gate.calibrate(np.concatenate(rows), seed + k, FIRST_SPREAD)


def margins(model: keras.Model, pictures: np.ndarray) -> np.ndarray:
    """How clear the least clear choice of winners is for each picture, [N] (`ops.margin`).

    Args:
        pictures: [N, H, W, C].
    """
    gates, probe = gate_layers(model), inputs_of_gates(model)

    def of(batch: np.ndarray) -> np.ndarray:
        inputs = keras.tree.flatten(probe(batch, training=False))
        return np.min([gate.margin(x) for gate, x in zip(gates, inputs, strict=True)], axis=0)

    return in_batches(of, pictures)


def inputs_of_gates(model: keras.Model) -> keras.Model:
    """A model of the same weights that gives what each gate reads, in the order of `gate_layers`."""
    return keras.Model(model.input, [gate.input for gate in gate_layers(model)])


def gate_layers(model: keras.Model) -> list[ChannelPruning]:
    """In the order of the network."""
    return [call.layer for call in record(model).calls if isinstance(call.layer, ChannelPruning)]


def copied(model: keras.Model, dense: keras.Model, normalize: str, scope: str = "all") -> keras.Model:
    """A gated network with the weights of another one, built on `dense`: for another precision, say."""
    copy = gated(dense, 1.0, normalize, 0.0, scope=scope)
    for gate, source in zip(gate_layers(copy), gate_layers(model), strict=True):
        gate.set_density(source.get_config()["density"])
    copy.set_weights(model.get_weights())
    return copy


def stock(model: keras.Model) -> keras.Model:
    """The gated network as stock layers and `keras.ops`: dense convolutions and a multiplication."""

    return replay(model, lambda call, x: multiplied(call.layer, x) if isinstance(call.layer, ChannelPruning) else None)


def multiplied(gate: ChannelPruning, x: Any, least: float = 0.0) -> Any:
    """What a gate makes of [N, H, W, C], by its whole layers and a multiplication; `least` as of `normalized`."""
    outputs = x
    for layer in gate.layers:
        outputs = call_copy(layer, outputs, dtype="float32")
    return keras.ops.multiply(outputs, keras.ops.expand_dims(pi_of(gate, x, least), (1, 2)))


def divisors(model: keras.Model, pictures: np.ndarray) -> dict[str, float]:
    """The largest of what each gate divides by, over some pictures [N, H, W, C], by the gate's name."""
    gates, probe = gate_layers(model), inputs_of_gates(model)

    def of(batch: np.ndarray) -> np.ndarray:
        inputs = keras.tree.flatten(probe(batch, training=False))
        return np.stack([gate.divisor(subsample(x)) for gate, x in zip(gates, inputs, strict=True)], axis=1)

    largest = in_batches(of, pictures).max(axis=0)
    return {gate.name: float(value) for gate, value in zip(gates, largest, strict=True)}


def normalized(pi: Any, mean: Any, least: float) -> Any:
    """pi over its mean, as `ops.gates`; over `least` where the mean is smaller, if that is above 0."""
    divisor = keras.ops.add(mean, EPSILON)
    return keras.ops.divide(pi, keras.ops.maximum(divisor, least) if least else divisor)


def pi_of(gate: ChannelPruning, x: Any, least: float = 0.0) -> Any:
    """The gate's values [N, C] from its input, in `keras.ops` and one dense layer; `least` as of `normalized`."""
    predictor = keras.layers.Dense(gate.nb_channels, activation="relu", name=f"{gate.name}_predictor")
    saliency = predictor(keras.ops.mean(x if gate.nonnegative else keras.ops.absolute(x), axis=(1, 2)))
    predictor.set_weights(list(gate.predictor()))
    nb_kept = int(gate.nb_kept.numpy())
    pi = saliency
    if nb_kept < gate.nb_channels:
        # Of equal saliencies `top_k` takes those of lower index, as training does.
        _, first = keras.ops.top_k(saliency, nb_kept)
        # In integers and without a product: LiteRT's int8 form of a one-hot row of floats is wrong, and what is made
        # float of integers gets a scale that is not its own.
        wins = keras.ops.sum(keras.ops.one_hot(first, gate.nb_channels, dtype="int32"), axis=1)
        pi = keras.ops.where(keras.ops.greater(wins, 0), saliency, keras.ops.zeros_like(saliency))
    if gate.normalize == "sum":
        pi = normalized(pi, keras.ops.mean(pi, axis=-1, keepdims=True), least)
    return pi
