"""Soft masks: a scalar for each channel, multiplied into the kernels that read it or the norms that make it.

A scalar of 0 in every kernel that reads a channel is what `mask` means by a removed one, so scalars that have become 0
or 1 can be shrunk exactly.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from secateur.pruning import rules
from secateur.pruning.channel_graph import ChannelGraph
from secateur.utils.errors import UsageError


@dataclasses.dataclass(frozen=True, eq=False)
class Gate:
    """How a layer's kernel takes its scalars.

    Attributes:
        layer: its name.
        axis: of its first weight (a kernel, a norm's scale), the one of the channels.
        rows, columns: of the scalar [G, C] for each place on that axis; row -1 where none applies.
    """

    layer: str
    axis: int
    rows: np.ndarray
    columns: np.ndarray


def reader_gates(graph: ChannelGraph, groups: Sequence[str]) -> list[Gate]:
    """Gates of all layers that read a channel of the groups; row g of the scalars belongs to `groups[g]`."""
    gates = []
    for name, flow in graph.flows.consumers.items():
        layer = graph.model.get_layer(name)
        (axis, _), *_ = rules.axes_of(layer)
        read = flow[: len(flow) // rules.nb_groups(layer)]
        columns = np.stack([graph.places(group, read) for group in groups])
        rows = np.where(columns.max(axis=0) >= 0, columns.argmax(axis=0), -1)
        if (rows >= 0).any():
            gates.append(Gate(name, axis, rows, columns.max(axis=0)))
    return gates


def maker_gates(graph: ChannelGraph, layers: Sequence[str]) -> list[Gate]:
    """Gates of layers on the filters that they make; row g of the scalars belongs to `layers[g]`.

    Where a batch norm stands straight behind the layer its scale takes the scalars: it would divide out what multiplies
    the filter. A scalar of 0 then leaves the constant that the norm makes of a filter of zeros.

    Raises:
        UsageError: such a norm has no scale.
    """
    readers = {id(call.inputs[0]): call.layer for call in graph.record.calls}
    calls = {call.layer.name: call for call in graph.record.calls}
    gates = []
    for row, name in enumerate(layers):
        _, axis = rules.axes_of(calls[name].layer)[0]
        size = calls[name].layer.weights[0].shape[axis]
        norm = readers.get(id(calls[name].outputs[0]))
        if isinstance(norm, keras.layers.BatchNormalization):
            if not norm.scale:
                raise UsageError(
                    f"{norm.name} has no scale (scale=False) and would divide out what multiplies the filters of "
                    f"{name}: prune channels and not single filters"
                )
            name, axis = norm.name, 0
        gates.append(Gate(name, axis, np.full(size, row), np.arange(size)))
    return gates


def gated_kernels(model: keras.Model, gates: Sequence[Gate], scalars_GxC: Any) -> list[tuple[keras.Variable, Any]]:
    """Each gated layer's first weight and the tensor that stands for it: weight times scalars.

    For `keras.StatelessScope(state_mapping=...)`, in which the model computes with the tensors.
    """
    pairs = []
    for gate in gates:
        kernel = model.get_layer(gate.layer).weights[0]
        gated = gate.rows >= 0
        flat = np.where(gated, gate.rows * scalars_GxC.shape[1] + gate.columns, 0)
        factors = keras.ops.take(keras.ops.reshape(scalars_GxC, (-1,)), flat)
        factors = keras.ops.where(gated, factors, keras.ops.ones_like(factors))
        shape = [1] * len(kernel.shape)
        shape[gate.axis] = len(gate.rows)
        pairs.append((kernel, keras.ops.multiply(kernel, keras.ops.reshape(factors, shape))))
    return pairs
