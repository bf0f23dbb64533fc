"""The smaller model: a new plain network without the removed channels, and the masked one it must equal."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from secateur.pruning import rules
from secateur.pruning.calls import Call, functional, new_layer
from secateur.pruning.channel_graph import ChannelGraph, Keep
from secateur.pruning.liveness import State


def mask(model: keras.Model, keep: Keep) -> keras.Model:
    """A copy of the model in which the input slices of all consumers are zero for every removed channel.

    Args:
        keep: group name to ascending kept indices; groups not named stay whole.

    Raises:
        UsageError: a plan that does not fit the model (`ChannelGraph.removed`).
    """
    graph = ChannelGraph(model)
    removed = np.array(sorted(graph.removed(keep)), int)
    copy = keras.models.clone_model(functional(model), clone_function=new_layer)
    copy.set_weights(model.get_weights())
    for name, flow in graph.flows.consumers.items():
        layer = copy.get_layer(name)
        kernel = layer.kernel.numpy()
        read, _ = rules.weighted(layer).axes[0]
        np.moveaxis(kernel, read, 0)[np.isin(flow, removed)] = 0.0
        layer.kernel.assign(kernel)
    return copy


def shrink(model: keras.Model, keep: Keep) -> keras.Model:
    """A new model without the removed channels: the same function as `mask(model, keep)` to float rounding.

    Layers keep their names and classes. Where all channels of a group go, what is left of its branch is a constant; it
    is added to the way around by a `Rescaling` layer that takes the addition's name.

    Args, Raises: as for `mask`.
    """
    model = functional(model)
    graph = ChannelGraph(model)
    removed = graph.removed(keep)
    builder = _Builder(graph, removed)
    names = {id(layer.output): layer.name for layer in model.layers if isinstance(layer, keras.layers.InputLayer)}
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=names[id(t)]) for t in model.inputs]
    values: dict[int, Any] = {id(t): x for t, x in zip(graph.record.inputs, inputs, strict=True)}
    for call in graph.record.calls:
        values |= builder.call(call, values)
    outputs = [values[id(t)] for t in graph.record.outputs]
    ends = (model.input, inputs), (model.output, outputs)
    return keras.Model(*(keras.tree.pack_sequence_as(form, flat) for form, flat in ends), name=model.name)


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
        replace = keras.tree.map_structure(lambda x: values.get(id(x), x), call.arguments)
        return self._apply(call, *replace)

    def _apply(self, call: Call, args: tuple, kwargs: dict) -> dict[int, Any]:
        layer = self._layer(call)
        outputs = keras.tree.flatten(layer(*args, **kwargs))
        layer.set_weights(self._sliced_weights(call))
        return {id(t): x for t, x in zip(call.outputs, outputs, strict=True)}

    def _layer(self, call: Call) -> keras.layers.Layer:
        """The new layer of a call; called twice in the model, it is made once."""
        name = call.layer.name
        if name not in self._layers:
            config = call.layer.get_config()
            rule = rules.weighted(call.layer)
            if rule:
                config[rule.units] = int(self._kept(call.outputs[0]).sum())
            if isinstance(call.layer, keras.layers.Reshape) and config["target_shape"][-1] != -1:
                config["target_shape"] = (*config["target_shape"][:-1], int(self._kept(call.outputs[0]).sum()))
            self._layers[name] = type(call.layer).from_config(config)
        return self._layers[name]

    def _kept(self, tensor: keras.KerasTensor) -> np.ndarray:
        """Which positions of a tensor's last axis stay, [C] bool."""
        return ~np.isin(self._flow_of(tensor), self._removed)

    def _sliced_weights(self, call: Call) -> list[np.ndarray]:
        layer, weights = call.layer, call.layer.get_weights()
        if not weights:
            return weights
        read, made = self._kept(call.inputs[0]), self._kept(call.outputs[0])
        rule = rules.weighted(layer)
        if rule:
            return [_sliced(w, axes, read, made) for w, axes in zip(weights, rule.axes, strict=False)]
        if read.all():
            return weights
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            return [weights[0][:, :, read], *[bias[made] for bias in weights[1:]]]
        return [w[..., made] for w in weights]

    def _constant(self, call: Call, values: Mapping[int, Any]) -> np.ndarray:
        """The value [C] of a tensor that no longer depends on the picture."""
        (source,) = call.inputs[:1]
        made = self._kept(call.outputs[0])
        if self._states[id(source)] is State.EMPTY:
            biases = call.layer.get_weights()[1:]
            bias = biases[0][made] if biases else np.zeros(int(made.sum()), np.float32)
            return keras.ops.convert_to_numpy(call.layer.activation(bias))
        if isinstance(call.layer, keras.layers.Add):
            return np.sum([values[id(t)] for t in call.inputs], axis=0)
        if isinstance(call.layer, rules.SPATIAL):
            return values[id(source)]
        vector = values[id(source)]
        batch = np.reshape(vector, (1,) * (len(source.shape) - 1) + vector.shape)
        layer = self._layer(call)
        layer.build(batch.shape)
        layer.set_weights(self._sliced_weights(call))
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
            weight = np.compress(kept, weight, axis=axis)
    return weight
