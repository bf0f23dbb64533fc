"""Which form each gate takes in LiteRT, by measuring, and what is executed then."""

import functools
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from secateur.export.forms import DENSE, GAIN, fastest_forms, milliseconds
from secateur.learners.fbs.layers import ChannelPruning
from secateur.learners.fbs.patches import nb_rows
from secateur.learners.fbs.skipping import OUTPUTS, SKIP, Value, build, formed, whole
from secateur.learners.fbs.structure import keeps_compact, readers_of
from secateur.pruning import cost
from secateur.pruning.calls import Call, record


def fastest(model: keras.Model, folder: pathlib.Path) -> dict:
    """For each gate the form that LiteRT runs faster, its input compact where the gate before it skips.

    Alone a gate cannot be judged for certain: what it saves may be lost where its outputs are put in their places. So
    at last the network in these forms, all dense and all skipping take turns. Dense it stays but for a clear gain.

    Returns:
        As `export.forms.fastest_forms`, and "whole": {what was tried: milliseconds of the network}.
    """
    found = _fastest_alone(model, folder)
    tried = {form: dict.fromkeys(found["forms"], form) for form in (DENSE, SKIP)}
    if found["forms"] not in tried.values():
        tried["chosen"] = found["forms"]
    networks = {name: functools.partial(build, model, forms) for name, forms in tried.items()}
    whole = milliseconds(networks, folder, "whole")
    best = min(whole, key=whole.__getitem__)
    return found | {"whole": whole, "forms": tried[best if whole[DENSE] >= GAIN * whole[best] else DENSE]}


def _fastest_alone(model: keras.Model, folder: pathlib.Path) -> dict:
    recorded = record(model)
    gates = [call for call in recorded.calls if isinstance(call.layer, ChannelPruning)]
    sources = {id(call.outputs[0]): call.layer.name for call in gates}
    for call in recorded.calls:
        if id(call.inputs[0]) in sources and keeps_compact(call):
            sources[id(call.outputs[0])] = sources[id(call.inputs[0])]
    readers = readers_of(recorded)
    found: dict = {"forms": {}, "milliseconds": {}}
    for call in gates:
        before = sources.get(id(call.inputs[0]))
        compact = found["forms"].get(before, DENSE) != DENSE
        live = _width(gates, before) if compact else None
        stays = stays_compact(call, readers)
        tried = (DENSE, OUTPUTS, SKIP) if compact else (DENSE, SKIP)
        forms = {form: alone(call, form, live, stays) for form in tried}
        one = fastest_forms({call.layer.name: (call.layer.name, forms)}, folder)
        found["forms"] |= one["forms"]
        found["milliseconds"] |= one["milliseconds"]
    return found


def stays_compact(call: Call, readers: dict[int, list[Call]]) -> bool:
    """Whether only gates read a call's outputs, maybe through layers that leave them compact.

    They may then never be put in their places.
    """
    own = readers.get(id(call.outputs[0]), [])
    through = [isinstance(r.layer, ChannelPruning) or (keeps_compact(r) and stays_compact(r, readers)) for r in own]
    return bool(through) and all(through)


def executed_macs(model: keras.Model, forms: dict[str, str]) -> int:
    """Multiply-accumulates of one picture in these forms: predictors, convolutions, putting channels into place."""
    total, compact, recorded = 0, {}, record(model)
    for call in recorded.calls:
        form = forms.get(call.layer.name, DENSE) if isinstance(call.layer, ChannelPruning) else None
        kept = compact.get(id(call.inputs[0]))
        if kept and form is None and keeps_compact(call):
            compact[id(call.outputs[0])] = kept
            continue
        if form != SKIP:
            total += sum(_macs_of_places(tensor, compact) for tensor in call.inputs)
        if form is None:
            total += cost.call_macs(call)
            continue
        gate, (height, width) = call.layer, call.outputs[0].shape[1:-1]
        nb_read, nb_made = gate.phi.shape
        places = gate.layers[0].kernel_size[0] * gate.layers[0].kernel_size[1]
        nb_kept = nb_made if form == DENSE else int(gate.nb_kept.numpy())
        read = kept if form == SKIP and kept else nb_read
        area = width * (height if form == DENSE else nb_rows(gate.layers[0], height, width, read))
        total += places * read * nb_kept * area + read * nb_made
        if form != DENSE:
            compact[id(call.outputs[0])] = nb_kept
    return total + _macs_of_places(recorded.outputs[0], compact)


def _macs_of_places(tensor: keras.KerasTensor, compact: dict[int, int]) -> int:
    """Of the product with the winners' rows of the unit matrix, for a tensor that is compact."""
    return compact.get(id(tensor), 0) * int(np.prod(tensor.shape[1:]))


def _width(gates: list[Call], name: str | None) -> int:
    return next(int(call.layer.nb_kept.numpy()) for call in gates if call.layer.name == name)


def alone(call: Call, form: str, nb_live: int | None, stays: bool = False) -> Callable[[], keras.Model]:
    """What builds a model of one gate, from whole or compact inputs to whole outputs, or compact ones if that stays."""

    def build_alone() -> keras.Model:
        shape = call.inputs[0].shape[1:]
        inputs = [keras.Input((*shape[:2], nb_live or shape[2]), batch_size=1)]
        value = Value(inputs[0])
        if nb_live:
            inputs.append(keras.Input((nb_live,), batch_size=1, dtype="int32"))
            value = Value(inputs[0], anywhere(inputs[1], shape[2]), shape[2])
        made = formed(call.layer, value, form)
        # The winners come out too, because whoever reads compact outputs needs them.
        compact = stays and made.winners is not None
        return keras.Model(inputs, [made.tensor, made.winners] if compact else whole(made, "alone"))

    return build_alone


def anywhere(numbers: keras.KerasTensor, nb_channels: int) -> keras.KerasTensor:
    """Numbers [1, k] as those of channels [k] in no order, as winners come: neighbours would be read faster."""
    shuffled = np.random.default_rng(0).permutation(nb_channels).astype(np.int32)
    return keras.ops.take(shuffled, keras.ops.reshape(numbers, (-1,)))
