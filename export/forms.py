"""A layer that has several exact forms: the one that LiteRT runs fastest, and the form without its dead channels."""

import functools
import pathlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import keras
import numpy as np

from secateur.export.latency import measure
from secateur.export.tflite import save_tflite
from secateur.pruning.copies import new_layer

# Form to what builds a model of nothing but the layer in that form.
Forms = Mapping[str, Callable[[], keras.Model]]
# The form that a layer has in any network.
DENSE = "dense"
ROUNDS = 15
# A network takes another form only if that makes it so much faster: below that the clock cannot tell.
GAIN = 1.02
# That set the ranges of a file that is only timed: they do not change its speed.
NB_PICTURES_TIMED = 8


def fastest_forms(candidates: Mapping[str, tuple[Hashable, Forms]], folder: pathlib.Path) -> dict:
    """Measure every form of every layer; the forms of one layer take turns.

    Args:
        candidates: layer to (key, forms); layers of equal keys cost the same, and one of them is measured.
        folder: for the files that are timed.

    Returns:
        {"forms": {layer: form}, "milliseconds": {layer: {form: median}}}, JSON-able.
    """
    measured: dict[Hashable, dict[str, float]] = {}
    for key, forms in candidates.values():
        if key not in measured:
            measured[key] = milliseconds(forms, folder, "form", rounds=ROUNDS, seconds=5.0)
    times = {layer: measured[key] for layer, (key, _) in candidates.items()}
    return {
        "forms": {layer: min(found, key=found.__getitem__) for layer, found in times.items()},
        "milliseconds": times,
    }


def milliseconds(
    networks: Forms,
    folder: pathlib.Path,
    prefix: str,
    save: Callable[[keras.Model, pathlib.Path], None] = save_tflite,
    **settings: Any,
) -> dict[str, float]:
    """The medians of several networks, which take turns.

    They are built one after the other, as large ones would not fit together.

    Args:
        networks: what builds them, by name.
        folder: for the files that are timed, `{prefix}_{name}.tflite`.
        save: writes a file, where float32 is not what is asked for.
        settings: of `measure`.
    """
    files = {name: folder / f"{prefix}_{name.replace(' ', '_')}.tflite" for name in networks}
    for name, build in networks.items():
        save(build(), files[name])
    return {name: latency.median for name, latency in measure(files, **settings).items()}


def forms_in_integers(
    build: Callable[[dict[str, str]], keras.Model], forms: dict[str, str], pictures: np.ndarray, folder: pathlib.Path
) -> tuple[dict[str, str], dict[str, float]]:
    """The forms of a file in eight bits: those that were chosen in float32, or all dense if LiteRT runs that faster.

    In eight bits dense convolutions gain most, on processors with instructions for them, and other operations little.

    Args:
        build: forms to the network; what they do not name is dense.
        forms: chosen in float32.
        pictures: of the calibration, [N, H, W, C].
        folder: for the files that are timed.

    Returns:
        The forms; what was tried: milliseconds of the network, nothing where there is no choice.
    """
    if all(form == DENSE for form in forms.values()):
        return forms, {}
    tried = {DENSE: {}, "chosen": forms}
    networks = {name: functools.partial(build, found) for name, found in tried.items()}
    save = functools.partial(save_tflite, quantize="int8", calibration=pictures[:NB_PICTURES_TIMED])
    times = milliseconds(networks, folder, "int8", save)
    return tried[min(times, key=times.__getitem__)], times


def narrowed(layer: keras.layers.Conv2D, x: Any, read: np.ndarray | None = None, made: np.ndarray | None = None) -> Any:
    """A convolution without its dead channels: squeeze, convolution, expand; exact for every stride and padding.

    Squeezing and expanding are 1x1 convolutions with a single 1 in each column or row, which LiteRT delegates (a gather
    it does not). The expansion has the layer's bias and activation, so that dead filters give what they gave.

    Args:
        layer: built, not grouped, with a kernel of zeros for the dead channels.
        x: what it reads, [B, H, W, C_in].
        read, made: the live channels, [C_in] and [C_out] bool; None where that end stays as it is.
    """
    kernel = layer.kernel.numpy()
    if read is not None:
        squeeze = keras.layers.Conv2D(int(read.sum()), 1, use_bias=False, name=f"{layer.name}_squeeze")
        x = with_weights(squeeze, x, [np.eye(len(read), dtype=np.float32)[None, None, :, read]])
        kernel = kernel[:, :, read]
    if made is None:
        return with_weights(new_layer(layer), x, [kernel, *layer.get_weights()[1:]])
    linear = new_layer(layer, filters=int(made.sum()), use_bias=False, activation=None)
    return spread(layer, with_weights(linear, x, [kernel[..., made]]), np.flatnonzero(made), "expand")


def spread(layer: keras.layers.Conv2D, x: Any, filters: np.ndarray, suffix: str) -> Any:
    """Channel k of `x` added to channel `filters[k]` of what a layer makes, with the layer's bias and activation."""
    kernel = np.eye(layer.filters, dtype=np.float32)[None, None, filters]
    name = f"{layer.name}_{suffix}"
    last = keras.layers.Conv2D(layer.filters, 1, use_bias=layer.use_bias, activation=layer.activation, name=name)
    return with_weights(last, x, [kernel, *layer.get_weights()[1:]])


def with_weights(layer: keras.layers.Layer, x: Any, weights: list[np.ndarray]) -> Any:
    """What a new layer makes of a tensor, with these weights."""
    outputs = layer(x)
    layer.set_weights(weights)
    return outputs
