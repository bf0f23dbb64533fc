"""The smaller model: a new plain network without the removed channels, and the masked one it must equal."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from secateur.pruning import rules
from secateur.pruning.calls import Call, replaced
from secateur.pruning.channel_graph import ChannelGraph, Keep
from secateur.pruning.copies import call_with, new_layer, set_weights, weights_of
from secateur.pruning.liveness import State


def mask(model: keras.Model | ChannelGraph, keep: Keep) -> keras.Model:
    """A copy of the model in which the input slices of all consumers are zero for every removed channel.

    Args:
        model: or its graph, where that is at hand.
        keep: group name to ascending kept indices; groups not named stay whole.

    Raises:
        UsageError: a plan that does not fit the model (`ChannelGraph.removed`).
    """
    graph = _graph(model)
    removed = np.array(sorted(graph.removed(keep)), int)
    copy = keras.models.clone_model(graph.model, clone_function=new_layer)
    set_weights(copy, graph.model.get_weights())
    for name, flow in graph.flows.consumers.items():
        layer = copy.get_layer(name)
        read, _ = rules.axes_of(layer)[0]
        kernel = layer.weights[0]
        value = kernel.numpy()
        positions = flow[: len(flow) // rules.nb_groups(layer)]
        np.moveaxis(value, read, 0)[np.isin(positions, removed)] = 0.0
        kernel.assign(value)
    return copy


def shrink(model: keras.Model | ChannelGraph, keep: Keep) -> keras.Model:
    """A new model without the removed channels: the same function as `mask(model, keep)` to float rounding.

    Layers keep their names and classes. Where all channels of a group go, what is left of its branch is a constant; it
    is added to the way around by a `Rescaling` layer that takes the addition's name.

    Args, Raises: as for `mask`.
    """
    graph = _graph(model)
    model = graph.model
    builder = _Builder(graph, graph.removed(keep))
    names = {id(layer.output): layer.name for layer in model.layers if isinstance(layer, keras.layers.InputLayer)}
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=names[id(t)]) for t in model.inputs]
    values: dict[int, Any] = {id(t): x for t, x in zip(graph.record.inputs, inputs, strict=True)}
    for call in graph.record.calls:
        values |= builder.call(call, values)
    outputs = [values[id(t)] for t in graph.record.outputs]
    ends = (model.input, inputs), (model.output, outputs)
    return keras.Model(*(keras.tree.pack_sequence_as(form, flat) for form, flat in ends), name=model.name)


def _graph(model: keras.Model | ChannelGraph) -> ChannelGraph:
    return model if isinstance(model, ChannelGraph) else ChannelGraph(model)


class _Builder:
    """Makes the smaller layers and calls them; a constant tensor is a vector [C], an empty one is None."""

    def __init__(self, graph: ChannelGraph, removed: set[int]):
        self._flow_of, self._states = graph.flows.of, graph.states(removed)
        self._removed = np.array(sorted(removed), int)
        self._layers: dict[str, keras.layers.Layer] = {}

    def call(self, call: Call, values: Mapping[int, Any]) -> dict[int, Any]:
        """The values of the call's outputs, by the ids of the recorded tensors."""
        states = [self._states[id(t)] for t in call.outputs]
        if State.LIVE not in states:
            constant = self._constant(call, values) if State.CONSTANT in states else None
            return {id(t): constant for t in call.outputs}
        inputs = [self._states[id(t)] for t in call.inputs]
        if State.CONSTANT in inputs:
            return {id(call.outputs[0]): self._add(call, values)}
        if State.EMPTY in inputs:
            alive = [values[id(t)] for t in call.inputs if self._states[id(t)] is State.LIVE]
            return {id(call.outputs[0]): self._layer(call)(alive) if len(alive) > 1 else alive[0]}
        return self._apply(call, *replaced(call.arguments, dict(values)))

    def _apply(self, call: Call, args: tuple, kwargs: dict) -> dict[int, Any]:
        outputs = call_with(self._layer(call), self._sliced_weights(call), args, kwargs)
        return {id(t): x for t, x in zip(call.outputs, outputs, strict=True)}

    def _layer(self, call: Call) -> keras.layers.Layer:
        """The new layer of a call; called twice in the model, it is made once."""
        name = call.layer.name
        if name not in self._layers:
            self._layers[name] = new_layer(call.layer, **self._changes(call))
        return self._layers[name]

    def _changes(self, call: Call) -> dict[str, Any]:
        """The configuration entries that depend on the channels, as they are for those that stay."""
        entries = getattr(rules.find(call.layer), "config", {})
        if not entries:
            return {}
        config, read, made = call.layer.get_config(), self._kept(call.inputs[0]), self._kept(call.outputs[0])
        return {entry: _ENTRIES[kind](config[entry], read, made) for entry, kind in entries.items()}

    def _kept(self, tensor: keras.KerasTensor) -> np.ndarray:
        """Which positions of a tensor's last axis stay, [C] bool."""
        return ~np.isin(self._flow_of(tensor), self._removed)

    def _sliced_weights(self, call: Call) -> list[np.ndarray]:
        weights = weights_of(call.layer)
        read, made = self._kept(call.inputs[0]), self._kept(call.outputs[0])
        if read.all() and made.all():
            return weights
        return [_sliced(w, axes, read, made) for w, axes in zip(weights, rules.axes_of(call.layer), strict=False)]

    def _constant(self, call: Call, values: Mapping[int, Any]) -> np.ndarray:
        """The value [C] of a tensor that no longer depends on the picture."""
        (source,) = call.inputs[:1]
        made = self._kept(call.outputs[0])
        if self._states[id(source)] is State.EMPTY:
            bias = getattr(call.layer, "bias", None)
            bias = np.zeros(int(made.sum()), np.float32) if bias is None else bias.numpy()[made]
            return keras.ops.convert_to_numpy(call.layer.activation(bias))
        if isinstance(call.layer, keras.layers.Add):
            return np.sum([values[id(t)] for t in call.inputs], axis=0)
        if rules.mixes_places(call.layer):
            return values[id(source)]
        vector = values[id(source)]
        batch = np.reshape(vector, (1,) * (len(source.shape) - 1) + vector.shape)
        layer = self._layer(call)
        layer.build(batch.shape)
        set_weights(layer, self._sliced_weights(call))
        # Inference is what a call without `training` means.
        return keras.ops.convert_to_numpy(layer(batch)).reshape(-1)

    def _add(self, call: Call, values: Mapping[int, Any]) -> Any:
        """An addition of which some terms are constant."""
        alive = [values[id(t)] for t in call.inputs if self._states[id(t)] is State.LIVE]
        constants = [values[id(t)] for t in call.inputs if self._states[id(t)] is State.CONSTANT]
        total = self._layer(call)(alive) if len(alive) > 1 else alive[0]
        offset = np.sum(constants, axis=0)
        if not offset.any():
            return total
        name = call.layer.name if len(alive) == 1 else f"{call.layer.name}_constant"
        return keras.layers.Rescaling(1.0, offset=offset.tolist(), name=name)(total)


def _sliced(weight: np.ndarray, axes: tuple, read: np.ndarray, made: np.ndarray) -> np.ndarray:
    """The kept part of one weight array, `axes` being those of (channels read, channels made)."""
    for axis, kept in zip(axes, (read, made), strict=True):
        if axis is not None:
            weight = np.compress(_fitted(kept, weight.shape[axis]), weight, axis=axis)
    return weight


def _fitted(kept: np.ndarray, length: int) -> np.ndarray:
    """The choice for an axis that holds every channel several times, or those of the first group alone."""
    return np.repeat(kept, length // len(kept)) if length > len(kept) else kept[:length]


def _vector(value: Any, read: np.ndarray, made: np.ndarray) -> Any:
    return np.asarray(value)[made].tolist() if np.ndim(value) == 1 and np.size(value) == len(made) else value


# What becomes of a configuration entry (`rules.Config`): (value, positions read, positions made) to the new value.
_ENTRIES: Mapping[str, Callable[[Any, np.ndarray, np.ndarray], Any]] = {
    "made": lambda value, read, made: int(made.sum()),
    "read": lambda value, read, made: int(read.sum()),
    "share": lambda value, read, made: value if value == -1 else value * int(made.sum()) // len(made),
    "vector": _vector,
    "last": lambda value, read, made: value if value[-1] == -1 else (*value[:-1], int(made.sum())),
}
