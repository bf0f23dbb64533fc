"""Widths by what they cost, measured time above all."""

import pathlib
from collections.abc import Callable

import keras

from secateur.export.latency import measure
from secateur.export.tflite import save_tflite
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.widths import Family, WidthCost, Widths, first_channels, fitted, rounded

MULTIPLES = (1, 2, 4, 8, 16)
# Halvings of the range of shares, for a cost that is counted, built and counted, or measured.
STEPS = {"macs": 24, "params": 10, "latency": 7}


def widths_for_target(
    kind: str,
    share: float,
    dense: keras.Model,
    model: keras.Model,
    family: Family,
    multiple: int,
    folder: pathlib.Path,
) -> Widths:
    """The widest network of a family that keeps at most a share of the dense one's cost.

    Args:
        kind: "macs", "params" or "latency" (LiteRT, one thread).
        model: what is narrowed; `dense` itself, or what earlier rounds left of it.
        multiple: widths are rounded to multiples of this.
        folder: for files that are timed.
    """
    counted = WidthCost(model, ChannelGraph(model))
    costs: dict[str, Callable[[Widths], float]] = {
        "macs": lambda widths: counted.macs(widths) / cost.macs(dense),
        "params": lambda widths: cost.params(shrink(model, first_channels(widths))) / cost.params(dense),
        "latency": lambda widths: relative_latency(dense, model, widths, folder),
    }
    return fitted(lambda x: rounded(family(x), multiple, counted), costs[kind], share, STEPS[kind])


def fastest_multiple(model: keras.Model, exact: Widths, folder: pathlib.Path) -> dict:
    """Of the widths rounded to several multiples, at no more MACs than the exact ones, those that LiteRT runs fastest.

    Args:
        folder: for the files that are timed.

    Returns:
        {"widths", "multiple", "milliseconds": {multiple: median}}, JSON-able.
    """
    cost = WidthCost(model, ChannelGraph(model))
    candidates = {str(multiple): dict(rounded(exact, multiple, cost)) for multiple in MULTIPLES}
    files = {name: folder / f"multiple_{name}.tflite" for name in candidates}
    for name, widths in candidates.items():
        save_tflite(shrink(model, first_channels(widths)), files[name])
    measured = {name: latency.median for name, latency in measure(files).items()}
    best = min(measured, key=measured.__getitem__)
    return {"widths": candidates[best], "multiple": int(best), "milliseconds": measured}


def relative_latency(reference: keras.Model, model: keras.Model, widths: Widths, folder: pathlib.Path) -> float:
    """LiteRT time of the model at these widths, relative to the reference's; the two take turns."""
    files = {"reference": folder / "reference.tflite", "narrow": folder / "narrow.tflite"}
    if not files["reference"].is_file():
        save_tflite(reference, files["reference"])
    save_tflite(shrink(model, first_channels(widths)), files["narrow"])
    found = measure(files, rounds=15, seconds=10)
    return found["narrow"].median / found["reference"].median
