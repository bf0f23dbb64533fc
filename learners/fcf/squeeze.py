"""Squeeze, convolution, expand: the network that single filters' scalars leave.

Reference: as for the learner, section 3.3. A block's first convolution reads only the channels that the last one of the
block before kept; what the addition carries in the others it does not see. The stream stays as wide as it was.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from secateur.export.forms import fastest_forms as measured_forms
from secateur.pruning import ChannelGraph, cost, rules, shrink
from secateur.pruning.calls import Call, new_layer, record
from secateur.pruning.replay import replay

# Layer to which input and which output channels are live, two vectors of 0 and 1.
Masks = dict[str, tuple[np.ndarray, np.ndarray]]
# How a convolution with dead inputs or outputs can be written.
DENSE, SQUEEZE, EXPAND, BOTH = "dense", "squeeze", "expand", "squeeze_expand"


def masks(graph: ChannelGraph, kept: Mapping[str, Sequence[int]]) -> Masks:
    """What each convolution of `kept` reads and makes."""
    calls = {call.layer.name: call for call in graph.record.calls}
    makers = {id(tensor): call for call in graph.record.calls for tensor in call.outputs}
    found: Masks = {}
    for name, channels in kept.items():
        kernel = calls[name].layer.kernel
        source = _source(calls[name].inputs[0], makers, set(kept))
        read = _vector(kernel.shape[-2], kept[source]) if source else np.ones(kernel.shape[-2], np.float32)
        found[name] = read, _vector(kernel.shape[-1], channels)
    return found


def _vector(size: int, channels: Sequence[int]) -> np.ndarray:
    vector = np.zeros(size, np.float32)
    vector[list(channels)] = 1.0
    return vector


def _source(tensor: keras.KerasTensor, makers: Mapping[int, Call], listed: set[str]) -> str | None:
    """The convolution with scalars whose filters a tensor shows: straight behind it, or the last one that was added."""
    call = makers.get(id(tensor))
    if call is None or (rules.makes(call.layer) and call.layer.name not in listed):
        return None
    if call.layer.name in listed:
        return call.layer.name
    branches = [_source(t, makers, listed) for t in call.inputs]
    named = [name for name in branches if name]
    # At an addition the shortcut leads to an earlier block: the convolution latest in the network is the block's own.
    order = {name: k for k, name in enumerate(c.layer.name for c in makers.values())}
    return max(named, key=order.__getitem__, default=None)


def without_inner_channels(model: keras.Model, found: Masks) -> tuple[keras.Model, Masks]:
    """The masked network without the channels that nothing reads any more, and the masks of what is left."""
    graph = ChannelGraph(model)
    keep = {
        name: np.flatnonzero(found[name][1]).tolist()
        for name, group in graph.groups.items()
        if not group.passes_add and set(group.producers) <= set(found) and set(group.consumers) <= set(found)
    }
    read = {reader: name for name in keep for reader in graph.groups[name].consumers}
    left = {}
    for name, (inputs, outputs) in found.items():
        left[name] = (
            inputs[inputs > 0] if name in read else inputs,
            outputs[outputs > 0] if name in keep else outputs,
        )
    return shrink(graph, keep), left


def method_macs(model: keras.Model, found: Masks) -> int:
    """Multiply-accumulates by the paper's count: live inputs times live outputs."""
    total = 0
    for name, count in cost.layer_macs(model).items():
        shares = [float(vector.mean()) for vector in found[name]] if name in found else [1.0]
        total += round(count * float(np.prod(shares)))
    return total


def fastest_forms(model: keras.Model, found: Masks, folder: pathlib.Path) -> dict:
    """The form of every convolution that has a choice, as LiteRT measures it."""
    candidates = {}
    for call in record(model).calls:
        name = call.layer.name
        if name not in found:
            continue
        read, made = found[name]
        forms = _forms(read, made)
        if len(forms) > 1:
            key = (call.inputs[0].shape, call.layer.kernel.shape, call.layer.strides, int(read.sum()), int(made.sum()))
            candidates[name] = (key, {form: _single(call, read, made, form) for form in forms})
    return measured_forms(candidates, folder)


def squeezed_forms(model: keras.Model, found: Masks) -> dict:
    """The form that squeezes and expands all that a convolution can, whatever it costs: the original program's."""
    names = [call.layer.name for call in record(model).calls if call.layer.name in found]
    choices = {name: _forms(*found[name]) for name in names}
    return {"forms": {name: forms[-1] for name, forms in choices.items() if len(forms) > 1}}


def _forms(read: np.ndarray, made: np.ndarray) -> list[str]:
    """The ways to write a convolution, the one that leaves most out at the end."""
    forms = [DENSE]
    forms += [SQUEEZE] if not read.all() else []
    forms += [EXPAND] if not made.all() else []
    return [*forms, BOTH] if len(forms) == 3 else forms


def _single(call: Call, read: np.ndarray, made: np.ndarray, form: str) -> Callable[[], keras.Model]:
    """What builds a model of one convolution in a form."""

    def alone() -> keras.Model:
        inputs = keras.Input(call.inputs[0].shape[1:], batch_size=1)
        layer = new_layer(call.layer)
        plain = keras.Model(inputs, layer(inputs))
        layer.set_weights(call.layer.get_weights())
        return build(plain, {layer.name: (read, made)}, {layer.name: form})

    return alone


def build(model: keras.Model, found: Masks, forms: Mapping[str, str]) -> keras.Model:
    """The masked network with each convolution in its form: the same function.

    Squeezing and expanding are 1x1 convolutions with a single 1 in each column or row, which LiteRT delegates (a gather
    it does not). What batch norm makes of a dead filter is a constant; it becomes the bias of the expansion.
    """
    return _Rebuilder(model, found, forms).model()


class _Rebuilder:
    def __init__(self, model: keras.Model, found: Masks, forms: Mapping[str, str]):
        self._model, self._found, self._forms = model, found, forms
        calls = record(model).calls
        readers = {id(call.inputs[0]): call.layer for call in calls}
        # The norm behind a convolution that expands, by its name; the expansion comes behind the norm.
        self._norms: dict[str, str] = {}
        for call in calls:
            reader = readers.get(id(call.outputs[0]))
            if self._expands(call.layer.name) and isinstance(reader, keras.layers.BatchNormalization):
                self._norms[reader.name] = call.layer.name

    def _expands(self, name: str) -> bool:
        return self._forms.get(name) in (EXPAND, BOTH)

    def model(self) -> keras.Model:
        return replay(self._model, self._call)

    def _call(self, call: Call, x: Any) -> Any:
        if self._forms.get(call.layer.name, DENSE) != DENSE:
            return self._convolution(call.layer, x)
        return self._norm(call.layer, x) if call.layer.name in self._norms else None

    def _convolution(self, layer: keras.layers.Conv2D, x: Any) -> Any:
        read, made = (vector > 0 for vector in self._found[layer.name])
        form, kernel = self._forms[layer.name], layer.kernel.numpy()
        if form in (SQUEEZE, BOTH):
            x = _one_hot(np.eye(len(read), dtype=np.float32)[:, read], None, f"{layer.name}_squeeze")(x)
            kernel = kernel[:, :, read]
        if form in (EXPAND, BOTH):
            kernel = kernel[..., made]
        copy = new_layer(layer, filters=kernel.shape[-1])
        x = copy(x)
        copy.set_weights([kernel])
        waits = layer.name in self._norms.values() or form == SQUEEZE
        return x if waits else self._expansion(layer.name, np.zeros(len(made), np.float32))(x)

    def _norm(self, norm: keras.layers.BatchNormalization, x: Any) -> Any:
        made = self._found[self._norms[norm.name]][1] > 0
        copy = new_layer(norm)
        x = copy(x)
        copy.set_weights([weight[made] for weight in norm.get_weights()])
        nothing = np.zeros((1, len(made)), np.float32)
        constant = keras.ops.convert_to_numpy(norm(nothing.reshape(1, 1, 1, -1), training=False)).reshape(-1)
        return self._expansion(self._norms[norm.name], np.where(made, 0.0, constant))(x)

    def _expansion(self, name: str, constant: np.ndarray) -> keras.layers.Conv2D:
        made = self._found[name][1] > 0
        return _one_hot(np.eye(len(made), dtype=np.float32)[made], constant, f"{name}_expand")


def _one_hot(matrix: np.ndarray, bias: np.ndarray | None, name: str) -> keras.layers.Conv2D:
    """A 1x1 convolution by a matrix [C_in, C_out]."""
    layer = keras.layers.Conv2D(matrix.shape[1], 1, use_bias=bias is not None, trainable=False, name=name)
    layer.build((None, None, None, matrix.shape[0]))
    layer.set_weights([matrix[None, None], *([] if bias is None else [bias])])
    return layer
