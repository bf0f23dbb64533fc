"""Which convolutions of a network can be gated, and through which layers a channel that is off stays off."""

from collections import Counter

import keras
import numpy as np

from secateur.learners.fbs.convolutions import plain
from secateur.pruning import ChannelGraph, rules
from secateur.pruning.calls import Call, Record, record

layers = keras.layers
# They make nothing negative of what is not.
PASS_SIGNS = (layers.Add, layers.Concatenate, layers.MaxPooling2D, layers.AveragePooling2D, layers.ZeroPadding2D)
PASS_SIGNS += (layers.Dropout, layers.SpatialDropout2D)


SCOPES = ("all", "block")


def units(model: keras.Model, scope: str = "all") -> dict[str, str]:
    """The norm that each convolution is followed by, for those that can be gated.

    They are plain and used once, and one norm, used once too, is all that reads them: what the gate switches off is
    then in nobody else's sight.

    Args:
        scope: all of them, or only those inside a block, whose channels no addition mixes with others.
    """
    recorded = record(model)
    outside = _passing_adds(model) if scope == "block" else set()
    times = Counter(call.layer.name for call in recorded.calls)
    readers, ends = readers_of(recorded), {id(tensor) for tensor in recorded.outputs}
    found = {}
    for call in recorded.calls:
        behind = [reader.layer for reader in readers.get(id(call.outputs[0]), ())]
        if len(behind) != 1 or id(call.outputs[0]) in ends or not _pair(call.layer, behind[0]):
            continue
        if call.layer.name in outside:
            continue
        if times[call.layer.name] == times[behind[0].name] == 1:
            found[call.layer.name] = behind[0].name
    return found


def _passing_adds(model: keras.Model) -> set[str]:
    return {name for group in ChannelGraph(model).groups.values() if group.passes_add for name in group.producers}


def _pair(convolution: keras.layers.Layer, norm: keras.layers.Layer) -> bool:
    return plain(convolution) and isinstance(norm, keras.layers.BatchNormalization) and norm.axis in (-1, 3)


def readers_of(recorded: Record) -> dict[int, list[Call]]:
    """The calls that read each tensor, by its id."""
    readers: dict[int, list[Call]] = {}
    for call in recorded.calls:
        for tensor in call.inputs:
            readers.setdefault(id(tensor), []).append(call)
    return readers


def reads_nonnegative(model: keras.Model) -> set[str]:
    """The layers whose inputs ReLUs have made, maybe through layers that pass no negative value on."""
    found: set[int] = set()
    readers = set()
    for call in record(model).calls:
        behind_relus = bool(call.inputs) and all(id(tensor) in found for tensor in call.inputs)
        if behind_relus:
            readers.add(call.layer.name)
        if _is_relu(call.layer) or (behind_relus and isinstance(call.layer, PASS_SIGNS)):
            found |= {id(tensor) for tensor in call.outputs}
    return readers


def _is_relu(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope and layer.threshold >= 0
    return getattr(layer, "activation", None) in (keras.activations.relu, keras.activations.relu6)


def keeps_compact(call: Call) -> bool:
    """Whether a layer acts on each channel alone and leaves zeros zeros, so that it may see the winners only."""
    weightless = not getattr(call.layer, "weights", None) and len(call.inputs) == 1
    shapes = {len(call.inputs[0].shape), len(call.outputs[0].shape)}
    return weightless and rules.find(call.layer) is rules.ELEMENTWISE and shapes == {4} and keeps_zero(call)


def keeps_zero(call: Call) -> bool:
    """Whether a channel of zeros leaves a layer of one input as zeros: not a sigmoid, nor a norm's or other offset."""
    shape = [size or 1 for size in call.inputs[0].shape[1:]]
    zeros = keras.ops.zeros((1, *shape), call.inputs[0].dtype)
    return not np.any(keras.ops.convert_to_numpy(call.layer(zeros)))
