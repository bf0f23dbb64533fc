"""Which form each gate takes in LiteRT, by measuring, and what is executed then."""

import functools
import pathlib
from collections import Counter
from collections.abc import Callable

import keras
import numpy as np

from secateur.export.forms import DENSE, GAIN, fastest_forms, milliseconds
from secateur.learners.fbs.convolutions import plain
from secateur.learners.fbs.layers import ChannelPruning
from secateur.learners.fbs.patches import nb_rows
from secateur.learners.fbs.skipping import OUTPUTS, SKIP, Value, build, formed, whole
from secateur.learners.fbs.structure import keeps_compact, readers_of
from secateur.pruning import cost
from secateur.pruning.calls import Call, Record, record


def fastest(model: keras.Model, folder: pathlib.Path) -> dict:
    """For each gate the form that LiteRT runs faster, its input compact where the gate before it skips.

    So too for convolutions without a gate that read what a gate makes: all of it, or only what is live. Alone a layer
    cannot be judged for certain: what it saves may be lost where its outputs are put in their places. So at last the
    network in these forms, all dense and all skipping take turns. Dense it stays but for a clear gain.

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
    gates = {call.layer.name: call.layer for call in recorded.calls if isinstance(call.layer, ChannelPruning)}
    sources = _sources(recorded)
    readers, times = readers_of(recorded), Counter(call.layer.name for call in recorded.calls)
    found: dict = {"forms": {}, "milliseconds": {}}
    for call in recorded.calls:
        before, gated = sources.get(id(call.inputs[0])), call.layer.name in gates
        if not gated and not (before and plain(call.layer) and times[call.layer.name] == 1):
            continue
        compact = found["forms"].get(before, DENSE) != DENSE
        if not gated and not compact:
            found["forms"][call.layer.name] = DENSE
            continue
        live = int(gates[before].nb_kept.numpy()) if compact else None
        stays = gated and stays_compact(call, readers)
        tried = (DENSE, OUTPUTS, SKIP) if gated and compact else (DENSE, SKIP)
        forms = {form: alone(call, form, live, stays) for form in tried}
        one = fastest_forms({call.layer.name: (call.layer.name, forms)}, folder)
        found["forms"] |= one["forms"]
        found["milliseconds"] |= one["milliseconds"]
    return found


def _sources(recorded: Record) -> dict[int, str]:
    """The gate whose outputs a tensor is, maybe behind layers that leave them compact."""
    found: dict[int, str] = {}
    for call in recorded.calls:
        if isinstance(call.layer, ChannelPruning):
            found[id(call.outputs[0])] = call.layer.name
        elif id(call.inputs[0]) in found and keeps_compact(call):
            found[id(call.outputs[0])] = found[id(call.inputs[0])]
    return found


def stays_compact(call: Call, readers: dict[int, list[Call]]) -> bool:
    """Whether only gates and convolutions read a call's outputs, maybe through layers that leave them compact.

    They may then never be put in their places.
    """
    own = readers.get(id(call.outputs[0]), [])
    ends = [isinstance(reader.layer, ChannelPruning) or plain(reader.layer) for reader in own]
    through = [end or (keeps_compact(r) and stays_compact(r, readers)) for end, r in zip(ends, own, strict=True)]
    return bool(through) and all(through)


def executed_macs(model: keras.Model, forms: dict[str, str]) -> int:
    """Multiply-accumulates of one picture in these forms: predictors, convolutions, putting channels into place."""
    total, compact, recorded = 0, {}, record(model)
    for call in recorded.calls:
        gate = call.layer if isinstance(call.layer, ChannelPruning) else None
        form = forms.get(call.layer.name, DENSE)
        form = None if form == DENSE and not gate else form
        kept = compact.get(id(call.inputs[0]))
        if kept and form is None and keeps_compact(call):
            compact[id(call.outputs[0])] = kept
            continue
        if form != SKIP:
            total += sum(_macs_of_places(tensor, compact) for tensor in call.inputs)
        if form is None:
            total += cost.call_macs(call)
            continue
        convolution, (height, width) = gate.layers[0] if gate else call.layer, call.outputs[0].shape[1:-1]
        *kernel, nb_read, nb_made = convolution.kernel.shape
        nb_kept = int(gate.nb_kept.numpy()) if gate and form != DENSE else nb_made
        read = kept if form == SKIP and kept else nb_read
        area = width * (height if form == DENSE else nb_rows(convolution, height, width, read))
        total += int(np.prod(kernel)) * read * nb_kept * area + (read * nb_made if gate else 0)
        if gate and form != DENSE:
            compact[id(call.outputs[0])] = nb_kept
    return total + _macs_of_places(recorded.outputs[0], compact)


def _macs_of_places(tensor: keras.KerasTensor, compact: dict[int, int]) -> int:
    """Of the product with the winners' rows of the unit matrix, for a tensor that is compact."""
    return compact.get(id(tensor), 0) * int(np.prod(tensor.shape[1:]))


def alone(call: Call, form: str, nb_live: int | None, stays: bool = False) -> Callable[[], keras.Model]:
    """What builds a model of one layer, from whole or compact inputs to whole outputs, or to compact ones."""

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
