"""Squeeze, convolution, expand: the network that single filters' scalars leave.

Reference: as for the learner, section 3.3. A block's first convolution reads only the channels that the last one of the
block before kept; what the addition carries in the others it does not see. The stream stays as wide as it was.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from secateur.export.forms import DENSE, narrowed
from secateur.export.forms import fastest_forms as measured_forms
from secateur.pruning import ChannelGraph, cost, rules, shrink
from secateur.pruning.blocks import is_addition
from secateur.pruning.calls import Call, record
from secateur.pruning.replay import replay

# Layer to which input and which output channels are live, two vectors of 0 and 1.
Masks = dict[str, tuple[np.ndarray, np.ndarray]]
# How a convolution with dead inputs or outputs can be written.
SQUEEZE, EXPAND, BOTH = "squeeze", "expand", "squeeze_expand"


class Seen(NamedTuple):
    """What a convolution behind a tensor reads of it.

    Attributes:
        number: of the call that is the latest of those with scalars among what the tensor shows; -1 for none.
        vector: [C] of 0 and 1.
    """

    number: int
    vector: np.ndarray


def masks(graph: ChannelGraph, kept: Mapping[str, Sequence[int]]) -> Masks:
    """What each convolution of `kept` reads and makes."""
    seen = {id(tensor): Seen(-1, np.ones(tensor.shape[-1], np.float32)) for tensor in graph.record.inputs}
    found: Masks = {}
    for number, call in enumerate(graph.record.calls):
        before, name = [seen[id(tensor)] for tensor in call.inputs], call.layer.name
        if name in kept:
            found[name] = before[0].vector, _vector(call.outputs[0].shape[-1], kept[name])
            seen[id(call.outputs[0])] = Seen(number, found[name][1])
        else:
            seen |= {id(tensor): _behind(call, before, tensor.shape[-1]) for tensor in call.outputs}
    return found


def _behind(call: Call, before: Sequence[Seen], size: int) -> Seen:
    """What is seen behind a layer without scalars."""
    rule = rules.find(call.layer)
    if is_addition(call):
        # The shortcut leads to an earlier block: the convolution latest in the network is the block's own.
        return max(before, key=lambda seen: seen.number)
    if isinstance(rule, rules.Joins) and sum(len(seen.vector) for seen in before) == size:
        return Seen(max(seen.number for seen in before), np.concatenate([seen.vector for seen in before]))
    if isinstance(rule, rules.Passes | rules.Merges) and len(before) == 1 and len(before[0].vector) == size:
        return before[0]
    return Seen(-1, np.ones(size or 1, np.float32))


def _vector(size: int, channels: Sequence[int]) -> np.ndarray:
    vector = np.zeros(size, np.float32)
    vector[list(channels)] = 1.0
    return vector


def without_inner_channels(model: keras.Model, found: Masks) -> tuple[keras.Model, Masks]:
    """The masked network without the channels that nothing reads any more, and the masks of what is left."""
    graph = ChannelGraph(model)
    keep = {name: np.flatnonzero(found[name][1]).tolist() for name in graph.groups if _is_unread(graph, name, found)}
    left = {}
    for name, (read, made) in found.items():
        gone = np.zeros(len(read), bool)
        for group in (group for group in keep if name in graph.groups[group].consumers):
            places = graph.positions(group, name)
            gone |= (places >= 0) & ~np.isin(places, keep[group])
        left[name] = read[~gone], made[made > 0] if name in keep else made
    return shrink(graph, keep), left


def _is_unread(graph: ChannelGraph, name: str, found: Masks) -> bool:
    """Whether a convolution alone makes a group, and no layer reads its dead filters."""
    group = graph.groups[name]
    if not group.prunable or group.producers != (name,) or not set(group.consumers) <= set(found) or name not in found:
        return False
    dead = np.flatnonzero(found[name][1] == 0)
    return not any(found[reader][0][np.isin(graph.positions(name, reader), dead)].any() for reader in group.consumers)


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
        return keras.Model(inputs, _written(call.layer, inputs, read, made, form))

    return alone


def _written(layer: keras.layers.Conv2D, x: Any, read: np.ndarray, made: np.ndarray, form: str) -> Any:
    squeezed, expanded = form in (SQUEEZE, BOTH), form in (EXPAND, BOTH)
    return narrowed(layer, x, read > 0 if squeezed else None, made > 0 if expanded else None)


def build(model: keras.Model, found: Masks, forms: Mapping[str, str]) -> keras.Model:
    """The masked network with each convolution in its form: the same function.

    What batch norm makes of a dead filter is a constant; the norm stays behind the expansion, and LiteRT folds both.
    """

    def formed(call: Call, x: Any) -> Any:
        form = forms.get(call.layer.name, DENSE)
        return None if form == DENSE else _written(call.layer, x, *found[call.layer.name], form)

    return replay(model, formed)
