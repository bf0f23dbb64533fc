"""The gated network that skips what is off: batch 1, stock layers and `keras.ops` that LiteRT delegates.

A convolution whose filter is not a constant is not delegated; a product of matrices is. So the winners' filters are
looked up as rows of a table, the live input as patches side by side, and their product has the winners alone. What
comes out stays compact, [1, H, W, k], through activations and pooling; where every channel is needed (at an addition,
before a dense layer) a product with the winners' rows of the unit matrix puts each channel in its place.
"""

from typing import Any, NamedTuple

import keras
import numpy as np

from secateur.export.forms import DENSE
from secateur.learners.fbs.convolutions import as_factors
from secateur.learners.fbs.gated import multiplied, normalized
from secateur.learners.fbs.layers import ChannelPruning
from secateur.learners.fbs.patches import product
from secateur.learners.fbs.structure import keeps_compact
from secateur.pruning.calls import Call, record, replaced
from secateur.pruning.copies import call_copy, call_with, new_layer, weights_of

# The whole convolution times the gate; the winners' filters on all inputs; the winners' filters on the live inputs.
# Looking up single inputs of many filters is slow where a layer is wide and its picture small.
OUTPUTS, SKIP = "outputs", "skip"
# Of the largest divisor of a gate: two and a half steps of eight bits.
LEAST_DIVISOR = 0.01
ops = keras.ops


class Value(NamedTuple):
    """A tensor [1, H, W, k] of some channels, or of all.

    Attributes:
        tensor: what is computed.
        winners: [k] int32, the channel at each place; None where all are there.
        nb_channels: of the whole tensor.
    """

    tensor: Any
    winners: Any = None
    nb_channels: int = 0


def build(model: keras.Model, forms: dict[str, str], largest: dict[str, float] | None = None) -> keras.Model:
    """A gated network, each gate in its form: the same function of one picture.

    Args:
        model: gated, float32.
        forms: gate to its form, and convolution without a gate to DENSE or SKIP; those that are missing are dense.
        largest: for a file in eight bits, what each gate divides by at most (`gated.divisors`): where that is so little
            that it would be rounded to 0, which is an error in LiteRT, the gate divides by a hundredth of it.
    """
    least = {name: value * LEAST_DIVISOR for name, value in (largest or {}).items()}
    recorded = record(model)
    (source,) = recorded.inputs
    inputs = keras.Input(source.shape[1:], batch_size=1, dtype=source.dtype, name="image")
    values = {id(source): Value(inputs)}
    copies: dict[str, keras.layers.Layer] = {}
    for number, call in enumerate(recorded.calls):
        arguments = [values[id(t)] for t in call.inputs]
        form = forms.get(call.layer.name, DENSE)
        if isinstance(call.layer, ChannelPruning) or form != DENSE:
            made = [formed(call.layer, arguments[0], form, least.get(call.layer.name, 0.0))]
        else:
            if call.layer.name not in copies:
                copies[call.layer.name] = new_layer(call.layer)
            made = _call(call, copies[call.layer.name], arguments, f"call_{number}")
        values |= zip(map(id, call.outputs), made, strict=True)
    return keras.Model(inputs, whole(values[id(recorded.outputs[0])], "output"), name=model.name)


def _call(call: Call, copy: keras.layers.Layer, values: list[Value], name: str) -> list[Value]:
    """What a copy of the layer makes of the values; `name` is for what puts channels into place."""
    if values[0].winners is not None and keeps_compact(call):
        return [values[0]._replace(tensor=copy(values[0].tensor))]
    tensors = [whole(value, f"{name}_{k}") for k, value in enumerate(values)]
    args, kwargs = replaced(call.arguments, {id(t): x for t, x in zip(call.inputs, tensors, strict=True)})
    return [Value(tensor) for tensor in call_with(copy, weights_of(call.layer), args, kwargs)]


def whole(value: Value, name: str) -> Any:
    """All channels in their places, zero where none was computed."""
    if value.winners is None:
        return value.tensor
    rows = _table(np.eye(value.nb_channels, dtype=np.float32), value.winners, f"{name}_places")
    shape = value.tensor.shape
    flat = ops.reshape(value.tensor, (1, shape[1] * shape[2], shape[3]))
    return ops.reshape(ops.matmul(flat, rows), (1, shape[1], shape[2], value.nb_channels))


def formed(layer: ChannelPruning | keras.layers.Conv2D, value: Value, form: str, least: float = 0.0) -> Value:
    """A gate, or a convolution without one, in a form.

    Args:
        layer: a convolution is `plain`.
        least: as of `normalized`.

    Returns:
        Of a gate that is not dense compact outputs, else whole ones.
    """
    if isinstance(layer, keras.layers.Conv2D):
        dense = form == DENSE or value.winners is None
        return Value(call_copy(layer, whole(value, layer.name)) if dense else reading(layer, value))
    if form == DENSE:
        return Value(multiplied(layer, whole(value, layer.name), least))
    return skipped(layer, Value(whole(value, f"{layer.name}_inputs")) if form == OUTPUTS else value, least)


def reading(convolution: keras.layers.Conv2D, value: Value) -> Any:
    """All filters of a convolution without a gate, on the live inputs alone, [1, H, W, C]."""
    kernel = convolution.kernel.numpy()
    nb_read, nb_made = kernel.shape[2:]
    # What all filters have for one input lies side by side, so a row for each input.
    rows = kernel.transpose(2, 0, 1, 3).reshape(nb_read, -1)
    found = _table(rows, value.winners, f"{convolution.name}_filters")
    found = ops.reshape(found, (value.tensor.shape[-1], -1, nb_made))
    columns = ops.reshape(ops.transpose(found, (1, 0, 2)), (1, -1, nb_made))
    outputs, height, width = product(convolution, value.tensor, columns)
    if convolution.use_bias:
        outputs = ops.add(outputs, convolution.bias.numpy())
    return ops.reshape(outputs, (1, height, width, nb_made))


def skipped(gate: ChannelPruning, value: Value, least: float) -> Value:
    """The winners' filters on the live inputs alone."""
    convolution, norm = gate.layers
    kernel, offset = _folded(convolution, norm)
    pi, winners = _strongest(gate, value, least)
    columns = _columns(kernel, value.winners, winners, f"{gate.name}_filters")
    nb_kept = winners.shape[-1]
    offsets = ops.reshape(_table(offset[:, None], winners, f"{gate.name}_offsets"), (1, 1, nb_kept))
    factors = ops.reshape(pi, (1, 1, nb_kept))
    # The gate's factors go to whatever is smaller, the filters or what they make.
    earlier = columns.shape[1] < np.prod(convolution.compute_output_shape(value.tensor.shape)[1:3])
    if earlier:
        columns, offsets = ops.multiply(columns, factors), ops.multiply(offsets, factors)
    outputs, height, width = product(convolution, value.tensor, columns)
    outputs = ops.add(outputs, offsets) if earlier else ops.multiply(ops.add(outputs, offsets), factors)
    return Value(ops.reshape(outputs, (1, height, width, nb_kept)), winners, gate.nb_channels)


def _columns(kernel: np.ndarray, live: Any, winners: Any, name: str) -> Any:
    """The winners' filters on the live inputs (None: on all), side by side, [1, K K C, k]."""
    nb_read, nb_made = kernel.shape[2:]
    kernel = kernel.reshape(-1, nb_read, nb_made)
    if live is None:
        return ops.transpose(_table(kernel.reshape(-1, nb_made).T, winners, name), (0, 2, 1))
    # A row for each pair of channels, so that what is copied lies side by side.
    size, nb_kept, nb_live = len(kernel), winners.shape[-1], live.shape[-1]
    first = ops.multiply(ops.reshape(winners, (nb_kept, 1)), nb_read)
    pairs = ops.reshape(ops.add(first, ops.reshape(live, (1, nb_live))), (nb_kept * nb_live,))
    rows = _table(kernel.transpose(2, 1, 0).reshape(nb_made * nb_read, size), pairs, name)
    rows = ops.reshape(rows, (nb_kept, nb_live, size))
    return ops.reshape(ops.transpose(rows, (2, 1, 0)), (1, size * nb_live, nb_kept))


def _folded(convolution: keras.layers.Conv2D, norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and offset of the convolution with its bias and its norm."""
    scale, offset = (factor.numpy() for factor in as_factors(convolution, norm))
    return convolution.kernel.numpy() * scale, offset


def _strongest(gate: ChannelPruning, value: Value, least: float) -> tuple[Any, Any]:
    """The winners' gates [1, k], and their numbers [k]; the predictor reads the live channels' rows of its weights."""
    means = ops.mean(value.tensor if gate.nonnegative else ops.absolute(value.tensor), axis=(1, 2))
    if value.winners is None:
        predictor = keras.layers.Dense(gate.nb_channels, activation="relu", name=f"{gate.name}_predictor")
        saliency = predictor(means)
        predictor.set_weights(list(gate.predictor()))
    else:
        kernel, offsets = gate.predictor()
        phi = _table(kernel, value.winners, f"{gate.name}_phi")
        product = ops.reshape(ops.matmul(ops.expand_dims(means, 1), phi), (1, gate.nb_channels))
        bias = keras.layers.Rescaling(1.0, offset=offsets.tolist(), name=f"{gate.name}_predictor")
        saliency = ops.relu(bias(product))
    pi, winners = ops.top_k(saliency, int(gate.nb_kept.numpy()))
    if gate.normalize == "sum":
        pi = normalized(pi, ops.divide(ops.sum(pi, axis=-1, keepdims=True), gate.nb_channels), least)
    return pi, ops.cast(ops.reshape(winners, (-1,)), "int32")


def _table(rows: np.ndarray, numbers: Any, name: str) -> Any:
    """The rows [C, D] of these numbers [k], [1, k, D]; an embedding is the stock layer that holds a table."""
    layer = keras.layers.Embedding(*rows.shape, name=name)
    found = layer(ops.expand_dims(numbers, 0))
    layer.set_weights([rows])
    return found
