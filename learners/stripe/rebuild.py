"""From trained skeletons to the network that is exported."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from secateur import export
from secateur.export.forms import DENSE, GAIN, milliseconds
from secateur.export.forms import fastest_forms as measured_forms
from secateur.learners.stripe.forms import forms_of, live_stripes
from secateur.learners.stripe.skeletons import Skeletons
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.blocks import calls_of, is_plain
from secateur.pruning.calls import Call, record
from secateur.pruning.replay import replay
from secateur.pruning.widths import rounded_up
from secateur.training.precision import to_training


def folded(model: keras.Model, skeletons: Skeletons) -> keras.Model:
    """A float32 network of stock layers with W * FS as its kernels, 0 where they read dead filters."""
    stock = export.to_stock(to_training(model, "float32"))
    for name, value in skeletons.kernels().items():
        stock.get_layer(name).weights[0].assign(value)
    return stock


def plan(graph: ChannelGraph, skeletons: Skeletons, multiple: int = 1) -> dict[str, list[int]]:
    """The channels that stay of every inner group: those of filters with a live stripe.

    All of a block's channels go where its first or last convolution has none left and a shortcut leads around it;
    where what is behind them could not do without, one channel, which is zero, stays.

    Args:
        multiple: so many dead filters stay, as zeros, that the number of filters is a multiple of this.
    """
    live, keep = skeletons.live(), {}
    gone: list[str] = []
    for name in skeletons.groups:
        alive = live[name].any(axis=(0, 1))
        width = rounded_up(int(alive.sum()), alive.size, multiple)
        keep[name] = sorted(np.argsort(~alive, kind="stable")[:width].tolist())
        # One of two branches that are joined can go where both cannot.
        if not keep[name] and graph.removable(*gone, name):
            gone.append(name)
        elif not keep[name]:
            keep[name] = [0]
    return keep


def method_params(model: keras.Model) -> int:
    """The parameters of a network without those of dead stripes."""
    kernels = [layer.kernel.numpy() for layer in model.layers if is_plain(layer)]
    return cost.params(model) - sum(int((~live_stripes(kernel)).sum()) * kernel.shape[2] for kernel in kernels)


def fastest(masked: keras.Model, plans: Mapping[int, dict[str, list[int]]], folder: pathlib.Path) -> dict:
    """Which plan and which forms LiteRT runs fastest.

    Kernels of odd widths can take longer than wider ones, by a half and more: zeros that stay are then worth it.

    Args:
        masked: the network with dead filters.
        plans: by the multiple of channels, in rising order; of equal ones the first is measured.

    Returns:
        {"multiple", "milliseconds_by_multiple"} and what `fastest_forms` returns, JSON-able.
    """
    found = list(plans.values())
    differ = {str(multiple): plan for k, (multiple, plan) in enumerate(plans.items()) if plan not in found[:k]}
    networks = {name: functools.partial(shrink, masked, plan) for name, plan in differ.items()}
    times = milliseconds(networks, folder, "whole")
    fewest, fastest_one = next(iter(times)), min(times, key=times.__getitem__)
    best = int(fastest_one if times[fewest] >= GAIN * times[fastest_one] else fewest)
    return {"multiple": best, "milliseconds_by_multiple": times} | fastest_forms(shrink(masked, plans[best]), folder)


def fastest_forms(model: keras.Model, folder: pathlib.Path) -> dict:
    """The form of every convolution with dead stripes as LiteRT measures it.

    Alone a layer cannot be judged for certain. So the network takes turns with all forms that won, with the better half
    of them, and so on, and all dense; where none gains enough it stays dense.

    Returns:
        As `export.forms.fastest_forms`, and "whole": {what was tried: milliseconds of the network}.
    """
    recorded = record(model)
    counts, candidates = calls_of(recorded), {}
    for call in recorded.calls:
        # A layer that is called twice stays as it is.
        if is_plain(call.layer) and counts[call.layer.name] == 1 and len(forms_of(call.layer)) > 1:
            forms = {form: _alone(call, form) for form in forms_of(call.layer)}
            candidates[call.layer.name] = (call.layer.name, forms)
    found = measured_forms(candidates, folder)
    tried = _selections(found)
    whole = {}
    if len(tried) > 1:
        networks = {name: functools.partial(build, model, forms) for name, forms in tried.items()}
        whole = milliseconds(networks, folder, "whole")
    best = min(whole, key=whole.__getitem__, default=DENSE)
    chosen = tried[best] if whole and whole[DENSE] >= GAIN * whole[best] else {}
    return found | {"forms": {name: chosen.get(name, DENSE) for name in found["forms"]}, "whole": whole}


def _selections(found: dict) -> dict[str, dict[str, str]]:
    """What to try with the whole network: no form, all forms that won, the half of these that gains most, and so on."""
    gains = {name: times[DENSE] - times[found["forms"][name]] for name, times in found["milliseconds"].items()}
    best = sorted((name for name, form in found["forms"].items() if form != DENSE), key=gains.__getitem__, reverse=True)
    tried: dict[str, dict[str, str]] = {DENSE: {}}
    while best:
        tried[f"{len(best)} forms"] = {name: found["forms"][name] for name in best}
        best = best[: len(best) // 2]
    return tried


def _alone(call: Call, form: str) -> Callable[[], keras.Model]:
    def build_alone() -> keras.Model:
        inputs = keras.Input(call.inputs[0].shape[1:], batch_size=1)
        return keras.Model(inputs, forms_of(call.layer)[form](inputs))

    return build_alone


def build(model: keras.Model, forms: dict[str, str]) -> keras.Model:
    """The same function with each named convolution in its form."""

    def formed(call: Call, x: Any) -> Any:
        form = forms.get(call.layer.name, DENSE)
        return None if form == DENSE else forms_of(call.layer)[form](x)

    return replay(model, formed)
