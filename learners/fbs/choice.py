"""Which form each gate takes in LiteRT, by measuring, and what is executed then."""

import pathlib
from collections.abc import Callable

import keras
import numpy as np

from secateur.export.forms import fastest_forms
from secateur.learners.fbs.layers import ChannelPruning
from secateur.learners.fbs.skipping import DENSE, OUTPUTS, SKIP, Value, formed, keeps_compact, whole
from secateur.pruning import cost
from secateur.pruning.calls import Call, record


def fastest(model: keras.Model, folder: pathlib.Path) -> dict:
    """For each gate the form that LiteRT runs faster, its input compact where the gate before it skips.

    Returns:
        As `export.forms.fastest_forms`.
    """
    recorded = record(model)
    gates = [call for call in recorded.calls if isinstance(call.layer, ChannelPruning)]
    sources = {id(call.outputs[0]): call.layer.name for call in gates}
    for call in recorded.calls:
        if keeps_compact(call) and id(call.inputs[0]) in sources:
            sources[id(call.outputs[0])] = sources[id(call.inputs[0])]
    found: dict = {"forms": {}, "milliseconds": {}}
    for call in gates:
        before = sources.get(id(call.inputs[0]))
        compact = found["forms"].get(before, DENSE) != DENSE
        live = _width(gates, before) if compact else None
        forms = {form: alone(call, form, live) for form in ((DENSE, OUTPUTS, SKIP) if compact else (DENSE, SKIP))}
        one = fastest_forms({call.layer.name: (call.layer.name, forms)}, folder)
        found["forms"] |= one["forms"]
        found["milliseconds"] |= one["milliseconds"]
    return found


def executed_macs(model: keras.Model, forms: dict[str, str]) -> int:
    """Multiply-accumulates of one picture in these forms: predictors and convolutions."""
    total, compact = 0, {}
    for call in record(model).calls:
        kept = compact.get(id(call.inputs[0]))
        if not isinstance(call.layer, ChannelPruning):
            total += cost.call_macs(call)
            if keeps_compact(call) and kept:
                compact[id(call.outputs[0])] = kept
            continue
        gate, area = call.layer, int(np.prod(call.outputs[0].shape[1:-1]))
        form, (nb_read, nb_made) = forms.get(gate.name, DENSE), gate.phi.shape
        places = gate.layers[0].kernel_size[0] * gate.layers[0].kernel_size[1]
        nb_kept = nb_made if form == DENSE else int(gate.nb_kept.numpy())
        read = kept if form == SKIP and kept else nb_read
        total += places * read * nb_kept * area + read * nb_made
        if form != DENSE:
            compact[id(call.outputs[0])] = nb_kept
    return total


def _width(gates: list[Call], name: str | None) -> int:
    return next(int(call.layer.nb_kept.numpy()) for call in gates if call.layer.name == name)


def alone(call: Call, form: str, nb_live: int | None) -> Callable[[], keras.Model]:
    """What builds a model of one gate, from whole or compact inputs to whole outputs."""

    def build_alone() -> keras.Model:
        shape = call.inputs[0].shape[1:]
        inputs = [keras.Input((*shape[:2], nb_live or shape[2]), batch_size=1)]
        value = Value(inputs[0])
        if nb_live:
            inputs.append(keras.Input((), batch_size=nb_live, dtype="int32"))
            value = Value(inputs[0], inputs[1], shape[2])
        return keras.Model(inputs, whole(formed(call.layer, value, form), "alone"))

    return build_alone
