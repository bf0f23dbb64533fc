"""A layer that has several exact forms: the one that LiteRT runs fastest."""

import pathlib
from collections.abc import Callable, Hashable, Mapping

import keras

from secateur.export.latency import measure
from secateur.export.tflite import save_tflite

# Form to what builds a model of nothing but the layer in that form.
Forms = Mapping[str, Callable[[], keras.Model]]
ROUNDS = 15


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
            measured[key] = _milliseconds(forms, folder)
    times = {layer: measured[key] for layer, (key, _) in candidates.items()}
    return {
        "forms": {layer: min(found, key=found.__getitem__) for layer, found in times.items()},
        "milliseconds": times,
    }


def _milliseconds(forms: Forms, folder: pathlib.Path) -> dict[str, float]:
    files = {name: folder / f"form_{name}.tflite" for name in forms}
    for name, build in forms.items():
        save_tflite(build(), files[name])
    return {name: latency.median for name, latency in measure(files, rounds=ROUNDS, seconds=5.0).items()}
