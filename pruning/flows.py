"""Where every channel of a model goes: channel numbers carried through its calls."""

from collections.abc import Iterable

import keras
import numpy as np

from secateur.pruning import rules
from secateur.pruning.calls import Call, Record


class Flows:
    """The channel numbers of every tensor of a recorded model.

    Each producer's output channels get fresh numbers. A walk over the calls carries them along as integer arrays, one
    entry per position of a tensor's last axis, and notes which numbers a merge makes equal. So concatenation of
    channels is concatenation of arrays, flattening is reshaping, a depthwise multiplier is repetition.

    Attributes:
        producers: layer that makes channels to their numbers.
        consumers: layer that reads channels with a kernel to the numbers that it reads.
        members: layer in between to the numbers on its inputs.
        summed: numbers that go through a sum.
        reasons: number to why its channel must stay.
    """

    def __init__(self, record: Record):
        self._sets = DisjointSets()
        self._of: dict[int, np.ndarray] = {}
        self.producers: dict[str, np.ndarray] = {}
        self.consumers: dict[str, np.ndarray] = {}
        self.members: dict[str, np.ndarray] = {}
        self.summed = np.zeros(0, int)
        self._frozen: list[tuple[np.ndarray, str]] = []
        for tensor in record.inputs:
            self._freeze([self._new(tensor)], "they are an input of the model")
        for call in record.calls:
            self._walk(call)
        self._freeze([self._of[id(tensor)] for tensor in record.outputs], "they reach an output of the model")
        self._settle()

    def of(self, tensor: keras.KerasTensor) -> np.ndarray:
        """The channel numbers [C] of a tensor; equal numbers mean channels that go together."""
        return self._of[id(tensor)]

    def _settle(self) -> None:
        """Replace all numbers by the representatives of their sets."""
        roots = self._sets.roots()
        self._of = {key: roots[flow] for key, flow in self._of.items()}
        for flows in (self.producers, self.consumers, self.members):
            flows |= {name: roots[flow] for name, flow in flows.items()}
        self.summed = roots[self.summed]
        self.reasons: dict[int, str] = {}
        for flow, reason in self._frozen:
            for number in set(roots[flow].tolist()):
                self.reasons.setdefault(number, reason)

    def _new(self, tensor: keras.KerasTensor) -> np.ndarray:
        self._of[id(tensor)] = self._sets.new((tensor.shape[-1] if len(tensor.shape) > 1 else None) or 1)
        return self._of[id(tensor)]

    def _freeze(self, flows: Iterable[np.ndarray], reason: str) -> None:
        self._frozen += [(flow, reason) for flow in flows]

    def _walk(self, call: Call) -> None:
        name, layer, rule = call.layer.name, call.layer, rules.find(call.layer)
        flows = [self._of[id(tensor)] for tensor in call.inputs]
        if isinstance(rule, rules.Makes) and len(flows) == 1:
            self._walk_producer(call, rule, flows[0])
            return
        self.members[name] = np.concatenate([self.members.get(name, np.zeros(0, int)), *flows])
        output = self._passed(call, rule, flows)
        if output is not None:
            self._of[id(call.outputs[0])] = output
            return
        kind = f"{name} ({type(layer).__name__})"
        self._freeze(flows, f"{kind} reads them and has no rule for fewer")
        self._freeze([self._new(tensor) for tensor in call.outputs], f"{kind} makes them")

    def _walk_producer(self, call: Call, rule: rules.Makes, flow: np.ndarray) -> None:
        name, made = call.layer.name, self._new(call.outputs[0])
        if rules.mixes_channels(call.layer):
            self._freeze([made], f"the activation of {name} has no rule and may mix them")
        # A grouped convolution stays one if each of its groups loses the same channels.
        groups = rules.nb_groups(call.layer)
        self._sets.join(made, np.tile(made[: len(made) // groups], groups))
        # A layer that is called again reads and makes the same channels as before.
        self._sets.join(made, self.producers.setdefault(name, made))
        if rule.axes[0][0] is None:
            return
        self._sets.join(flow, np.tile(flow[: len(flow) // groups], groups))
        self._sets.join(flow, self.consumers.setdefault(name, flow))

    def _passed(self, call: Call, rule: rules.Rule | None, flows: list[np.ndarray]) -> np.ndarray | None:
        """The flow of the output of a layer that makes no channels; None where no rule says it."""
        layer, shape = call.layer, call.outputs[0].shape
        if isinstance(rule, rules.Merges):
            return self._merged(rule, flows, shape) if _has_no_arrays(call) else None
        if isinstance(rule, rules.Joins):
            return np.concatenate(flows) if layer.axis in (-1, len(shape) - 1) else None
        if not isinstance(rule, rules.Passes) or len(flows) != 1 or len(call.outputs) != 1:
            return None
        (flow,) = flows
        after = rule.flow(layer, flow, call.inputs[0].shape, shape) if rule.flow else flow
        if after is not None and rule.tie:
            tied = rule.tie(layer, flow)
            _, first = np.unique(tied, return_index=True)
            self._sets.join(flow, flow[first[tied]])
        if after is not None and getattr(layer, "weights", None):
            self._sets.join(flow, self.members[layer.name][: len(flow)])
        return after

    def _merged(self, rule: rules.Merges, flows: list[np.ndarray], shape: tuple) -> np.ndarray | None:
        """Inputs of one channel are spread over all channels of the others, and keep that one."""
        whole = [flow for flow in flows if len(flow) == shape[-1]]
        single = [flow for flow in flows if len(flow) != shape[-1]]
        if not whole or any(len(flow) != 1 for flow in single):
            return None
        self._freeze(single, "a single channel acts on all others")
        for flow in whole[1:]:
            self._sets.join(flow, whole[0])
        if rule.sums:
            self.summed = np.concatenate([self.summed, whole[0]])
        return whole[0]


def _has_no_arrays(call: Call) -> bool:
    """Whether an operation has no constant array or list among its arguments: it would have to lose channels too."""
    leaves = [leaf for leaf in keras.tree.flatten(call.arguments) if not isinstance(leaf, keras.KerasTensor)]
    return not leaves or (len(leaves) + len(call.inputs) == 2 and np.ndim(leaves[0]) == 0)


class DisjointSets:
    """Numbers 0, 1, … in sets that can be joined (union-find)."""

    def __init__(self) -> None:
        self._parent: list[int] = []

    def new(self, count: int) -> np.ndarray:
        """`count` new numbers, each in a set of its own."""
        first = len(self._parent)
        self._parent += range(first, first + count)
        return np.arange(first, first + count)

    def join(self, a: np.ndarray, b: np.ndarray) -> None:
        """Unite the sets of a[k] and b[k] for every k; the smallest number represents a set."""
        differ = a != b
        for x, y in zip(a[differ].tolist(), b[differ].tolist(), strict=True):
            low, high = sorted((self.root(x), self.root(y)))
            self._parent[high] = low

    def root(self, number: int) -> int:
        """The representative of the number's set."""
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def roots(self) -> np.ndarray:
        """The representative of every number."""
        return np.array([self.root(number) for number in range(len(self._parent))], int)
