"""From trained skeletons to the network that is exported."""

import pathlib
from typing import Any

import keras
import numpy as np

from secateur import export
from secateur.export.forms import fastest_forms as measured_forms
from secateur.learners.stripe.forms import DENSE, forms_of, live_stripes
from secateur.learners.stripe.skeletons import Skeletons
from secateur.pruning import ChannelGraph, cost
from secateur.pruning.calls import Call, record
from secateur.pruning.replay import replay
from secateur.training.precision import to_training

# Forms are written to a second network only if they make it so much faster: below that the clock cannot tell.
GAIN = 1.02


def folded(model: keras.Model, skeletons: Skeletons) -> keras.Model:
    """A float32 network of stock layers with W * FS as its kernels."""
    stock = export.to_stock(to_training(model, "float32"))
    for name, skeleton in skeletons.of.items():
        kernel = stock.get_layer(name).kernel
        kernel.assign(kernel.numpy() * skeleton.numpy()[:, :, None, :])
    return stock


def plan(graph: ChannelGraph, skeletons: Skeletons) -> dict[str, list[int]]:
    """The channels that stay of every inner group: those of filters with a live stripe.

    All of a block's channels go where its first or last convolution has none left and a shortcut leads around it; in a
    chain one channel, which is zero, stays.
    """
    values, keep = skeletons.values(), {}
    for name in skeletons.norms:
        kept = np.flatnonzero(values[name].any(axis=(0, 1))).tolist()
        if any(reader in values and not values[reader].any() for reader in graph.groups[name].consumers):
            kept = []
        keep[name] = kept if kept or graph.removable(name) else [0]
    return keep


def method_macs(dense: keras.Model, skeletons: Skeletons) -> int:
    """The method's count of the whole network: stripes, and what carries none."""
    others = sum(count for name, count in cost.layer_macs(dense).items() if name not in skeletons.layers)
    return others + skeletons.macs()


def fastest_forms(model: keras.Model, folder: pathlib.Path) -> dict:
    """The form of every convolution with dead stripes as LiteRT measures it; none where the network gains nothing."""
    candidates = {}
    for call in record(model).calls:
        if type(call.layer) is keras.layers.Conv2D and len(forms_of(call.layer)) > 1:
            key = (call.layer.name, live_stripes(call.layer.kernel.numpy()).tobytes())
            forms = {form: _alone(call, form) for form in forms_of(call.layer)}
            candidates[call.layer.name] = (key, forms)
    found = measured_forms(candidates, folder)
    chosen = {name: form for name, form in found["forms"].items() if form != DENSE}
    if chosen and _times_as_fast(model, chosen, folder) < GAIN:
        found["forms"] = dict.fromkeys(found["forms"], DENSE)
    return found


def _times_as_fast(model: keras.Model, forms: dict[str, str], folder: pathlib.Path) -> float:
    files = {"dense": folder / "whole_dense.tflite", "forms": folder / "whole_forms.tflite"}
    export.save_tflite(model, files["dense"])
    export.save_tflite(build(model, forms), files["forms"])
    found = export.measure(files)
    return found["dense"].median / found["forms"].median


def _alone(call: Call, form: str) -> Any:
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
