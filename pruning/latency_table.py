"""A network's time as a function of its widths, from layers that are timed alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import keras

from secateur.pruning import rules
from secateur.pruning.calls import Call, work_of
from secateur.pruning.channel_graph import ChannelGraph
from secateur.pruning.copies import new_layer
from secateur.pruning.cost import PLAIN, call_macs
from secateur.pruning.widths import Widths, group_shares

# Networks by name to their milliseconds; they take turns.
Timer = Callable[[Mapping[str, keras.Model]], Mapping[str, float]]


class _Entry(NamedTuple):
    """Which kind of layer, reading and making how many channels."""

    kind: str
    read: int
    made: int


class LatencyTable:
    """Milliseconds of a network's layers at the widths of its channel groups.

    Entries are measured when they are first asked for; layers that do the same work share them. A layer alone also
    costs what starting any network costs, so differences count, not sums. Convolutions in groups, separable and
    transposed ones and layers of one's own have no entries.

    Args:
        graph: of the network at full width.
        timer: measures networks of one layer.
    """

    def __init__(self, graph: ChannelGraph, timer: Timer):
        self._timer = timer
        self._sizes = {name: group.size for name, group in graph.groups.items()}
        self._entries: dict[_Entry, float] = {}
        self._calls: dict[str, Call] = {}
        self._layers: list[tuple[str, dict[str, float], dict[str, float]]] = []
        for call in graph.record.calls:
            if isinstance(call.layer, PLAIN) and call_macs(call) and rules.nb_groups(call.layer) == 1:
                kind = work_of(call)
                self._calls.setdefault(kind, call)
                ends = (group_shares(graph, tensor) for tensor in (call.inputs[0], call.outputs[0]))
                self._layers.append((kind, *ends))

    def milliseconds(self, group: str, plans: Sequence[Widths]) -> list[float]:
        """For each plan, the time of the layers that a group touches; groups not named keep their size."""
        touched = [layer for layer in self._layers if group in layer[1] or group in layer[2]]
        rows = [[self._entry(*layer, widths) for layer in touched] for widths in plans]
        missing = sorted({entry for row in rows for entry in row} - set(self._entries))
        if missing:
            found = self._timer({str(k): _alone(self._calls[entry.kind], entry) for k, entry in enumerate(missing)})
            self._entries |= {entry: found[str(k)] for k, entry in enumerate(missing)}
        return [sum(self._entries[entry] for entry in row) for row in rows]

    def _entry(self, kind: str, read: Mapping[str, float], made: Mapping[str, float], widths: Widths) -> _Entry:
        call = self._calls[kind]

        def width(tensor: keras.KerasTensor, shares: Mapping[str, float]) -> int:
            left = sum(share * self._left(name, widths) for name, share in shares.items())
            return max(1, round(tensor.shape[-1] * left))

        return _Entry(kind, width(call.inputs[0], read), width(call.outputs[0], made))

    def _left(self, group: str, widths: Widths) -> float:
        return widths[group] / self._sizes[group] if group in widths else 1.0


def _alone(call: Call, entry: _Entry) -> keras.Model:
    """A network of one layer, one picture at a time, at other widths."""
    width = {name: entry.made for name in ("filters", "units") if name in call.layer.get_config()}
    inputs = keras.Input((*call.inputs[0].shape[1:-1], entry.read), batch_size=1)
    return keras.Model(inputs, new_layer(call.layer, **width)(inputs))
