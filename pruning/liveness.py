"""What becomes of each tensor when whole groups of channels go: it lives, it is empty, or it is a constant."""

import enum
from collections.abc import Callable, Sequence

import keras
import numpy as np

from secateur.pruning import rules
from secateur.pruning.calls import Call, Record


class State(enum.Enum):
    LIVE = "live"
    EMPTY = "no channel left"
    CONSTANT = "the same value at every place of every picture"


class NotRemovable(ValueError):
    """Without these channels nothing would lead from the input to the output."""


def states(record: Record, flow_of: Callable, removed: set[int]) -> dict[int, State]:
    """The state of every tensor, by its id.

    A layer whose inputs are all gone gives its bias; norms and activations keep that constant, and an addition with a
    living branch absorbs it.

    Args:
        flow_of: symbolic tensor to its channel numbers.
        removed: channel numbers that go.

    Raises:
        NotRemovable: an output of the model would no longer depend on its input, or a constant meets a layer that does
            not keep it constant (a padded convolution, a product).
    """
    gone = np.array(sorted(removed), int)
    found = {id(tensor): State.LIVE for tensor in record.inputs}
    for call in record.calls:
        state = _after(call, [found[id(tensor)] for tensor in call.inputs])
        for tensor in call.outputs:
            empty = bool(removed) and bool(np.isin(flow_of(tensor), gone).all())
            found[id(tensor)] = State.EMPTY if empty else state
    for tensor in record.outputs:
        if found[id(tensor)] is not State.LIVE:
            raise NotRemovable("the output would not depend on the input")
    return found


def _after(call: Call, inputs: Sequence[State]) -> State:
    layer = call.layer
    if all(state is State.LIVE for state in inputs):
        return State.LIVE
    if isinstance(layer, keras.layers.Concatenate) and State.CONSTANT not in inputs:
        return State.LIVE
    if isinstance(layer, keras.layers.Add) and State.EMPTY not in inputs:
        return State.LIVE if State.LIVE in inputs else State.CONSTANT
    if all(state is State.EMPTY for state in inputs):
        return State.CONSTANT if rules.makes(layer) else State.EMPTY
    if inputs == [State.CONSTANT] and _keeps_constant(layer):
        return State.CONSTANT
    raise NotRemovable(f"{layer.name} ({type(layer).__name__}) cannot do without them")


def _keeps_constant(layer: keras.layers.Layer) -> bool:
    rule = rules.find(layer)
    if isinstance(rule, rules.Makes):
        return rules.nb_groups(layer) == 1 and all(size == 1 for size in getattr(layer, "kernel_size", (1,)))
    return isinstance(rule, rules.Passes) and rule.constant
