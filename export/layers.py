"""What each layer of a network costs: multiply-accumulates, and LiteRT's time for the layer alone."""

import pathlib
import tempfile
from typing import Any

import keras

from secateur.export.latency import measure
from secateur.export.tflite import save_tflite
from secateur.pruning import cost
from secateur.pruning.calls import Call, record, work_of
from secateur.pruning.copies import new_layer

# Layers beyond so many different ones are not timed: the files alone would take minutes.
MOST_TIMED = 80
ROUNDS, SECONDS = 3, 10.0


def layer_costs(model: keras.Model, timed: bool) -> dict[str, dict[str, float]]:
    """Layer to {"macs": multiply-accumulates per picture, "ms": milliseconds}, for every layer that multiplies.

    A layer is timed as a network of its own, one picture, one thread, so that the times do not add up to the whole
    network's; layers of equal shapes are timed once. Those that take no picture [B, H, W, C] have no time.

    Args:
        model: functional, of fixed picture size.
        timed: whether to measure; without it there is no "ms".
    """
    calls = {call.layer.name: call for call in record(model).calls if cost.call_macs(call)}
    found: dict[str, dict[str, float]] = {name: {"macs": count} for name, count in cost.layer_macs(model).items()}
    keys = {name: work_of(call) for name, call in calls.items() if len(call.inputs[0].shape) == 4}
    if timed and len(set(keys.values())) <= MOST_TIMED:
        times = _milliseconds({key: calls[name] for name, key in keys.items()})
        for name, key in keys.items():
            found[name]["ms"] = times[key]
    return found


def _milliseconds(calls: dict[str, Call]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[str, pathlib.Path] = {}
        for k, (key, call) in enumerate(calls.items()):
            paths[key] = pathlib.Path(folder) / f"{k}.tflite"
            save_tflite(_alone(call), paths[key])
        return {key: found.median for key, found in measure(paths, rounds=ROUNDS, seconds=SECONDS).items()}


def _alone(call: Call) -> keras.Model:
    inputs = keras.Input(call.inputs[0].shape[1:], batch_size=1)
    layer: Any = new_layer(call.layer)
    return keras.Model(inputs, layer(inputs))
