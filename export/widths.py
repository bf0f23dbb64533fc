"""Widths by what they cost, measured time above all."""

import functools
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

import keras

from secateur.export.latency import measure
from secateur.export.tflite import save_tflite
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.descent import descent, levels_of, shares_of
from secateur.pruning.latency_table import LatencyTable, Timer
from secateur.pruning.widths import Family, WidthCost, Widths, first_channels, fitted, multiple_of, rounded
from secateur.utils.errors import UsageError

MULTIPLES = (1, 2, 4, 8, 16)
# What a latency's own family is compared with.
USUAL_MULTIPLE = 8
NAMES = {"macs": "MACs", "params": "parameters"}
# Halvings of the range of shares, for a cost that is counted, built and counted, or measured.
STEPS = {"macs": 24, "params": 10, "latency": 7}
# Of a time: what the clock cannot tell, and how many plans are timed again.
SLACK, NB_FINALISTS = 0.02, 6
# Of a layer alone, ten runs each.
LAYER_ROUNDS = 5


def widths_for_target(
    kind: str,
    share: float,
    dense: keras.Model,
    model: keras.Model,
    family: Family,
    channel_multiple: str,
    folder: pathlib.Path,
) -> Widths:
    """The widest network of a family that keeps at most a share of the dense one's cost.

    Args:
        kind: "macs", "params" or "latency" (LiteRT, one thread).
        model: what is narrowed; `dense` itself, or what earlier rounds left of it.
        channel_multiple: widths are rounded to multiples of this; with "auto" a latency is looked for with those that
            suit each group.
        folder: for files that are timed.
    """
    counted, multiple = WidthCost(ChannelGraph(model)), multiple_of(channel_multiple)
    costs: dict[str, Callable[[Widths], float]] = {
        "macs": lambda widths: counted.macs(widths) / cost.macs(dense),
        "params": lambda widths: cost.params(shrink(model, first_channels(widths))) / cost.params(dense),
    }
    if kind in costs:
        unit = f"of the dense network's {NAMES[kind]}"
        remedy = f"raise target_{kind}"
        return fitted(lambda x: rounded(family(x), multiple, counted), costs[kind], share, STEPS[kind], unit, remedy)
    own = None if channel_multiple == "auto" else multiple
    families = [
        _family_by_time(model, family, own, functools.partial(_milliseconds, folder)),
        lambda x: rounded(family(x), own or USUAL_MULTIPLE, counted),
    ]
    return _widths_by_time(share, families, counted, lambda plans: relative_latencies(dense, model, plans, folder))


def _family_by_time(model: keras.Model, family: Family, multiple: int | None, timer: Timer) -> Family:
    """The plans that lose least, as `family` sees it, for the time that they save; 1 is the widest, 0 the narrowest."""
    graph = ChannelGraph(model)
    levels = {name: levels_of(graph.groups[name].size, multiple) for name in family(1.0)}
    plans = descent(shares_of(family, levels), LatencyTable(graph, timer).milliseconds)
    most = plans[-1][1]
    return lambda x: next(widths for widths, saved in plans if saved >= (1 - x) * most)


def _milliseconds(folder: pathlib.Path, networks: Mapping[str, keras.Model]) -> dict[str, float]:
    files = {name: folder / f"layer_{name}.tflite" for name in networks}
    for name, network in networks.items():
        save_tflite(network, files[name])
    return {name: found.median for name, found in measure(files, rounds=LAYER_ROUNDS).items()}


def _widths_by_time(
    share: float,
    families: Sequence[Family],
    counted: WidthCost,
    measure_all: Callable[[Mapping[str, Widths]], Mapping[str, float]],
) -> Widths:
    """Of all plans that the halving of each family meets, the one of most MACs whose time is within the share.

    Raises:
        UsageError: the narrowest plan of every family takes longer.

    Time is noisy and does not rise evenly with the width, so the plans near the goal take turns once more at the end.
    """
    plans: dict[str, Widths] = {}
    found: dict[str, float] = {}

    def time(widths: Widths) -> float:
        key = str(sorted(widths.items()))
        if key not in found:
            plans[key] = widths
            found[key] = measure_all({"one": widths})["one"]
        return found[key]

    budget = share * (1 + SLACK)
    narrowest = [time(family(0.0)) for family in families]
    if min(narrowest) > budget:
        raise UsageError(
            f"the narrowest network still takes {min(narrowest):.4g} of the dense network's LiteRT time, more than "
            f"{share:.4g}: raise target_latency"
        )
    for family, least in zip(families, narrowest, strict=True):
        if least <= budget:
            fitted(family, time, budget, STEPS["latency"])
    near = sorted(found, key=lambda key: abs(found[key] - share))[:NB_FINALISTS]
    again = measure_all({key: plans[key] for key in near})
    within = [key for key in near if again[key] <= budget]
    best = max(within, key=lambda key: counted.macs(plans[key])) if within else min(near, key=again.__getitem__)
    return dict(plans[best])


def fastest_multiple(model: keras.Model, exact: Widths, folder: pathlib.Path, most_params: float = math.inf) -> dict:
    """Of the widths rounded to several multiples, at no more MACs than the exact ones, those that LiteRT runs fastest.

    Args:
        folder: for the files that are timed.
        most_params: what has more parameters is left out.

    Returns:
        {"widths", "multiple", "milliseconds": {multiple: median}}, JSON-able.
    """
    counted = WidthCost(ChannelGraph(model))
    candidates = {str(multiple): dict(rounded(exact, multiple, counted)) for multiple in MULTIPLES}
    files = {}
    for name, widths in candidates.items():
        narrow = shrink(model, first_channels(widths))
        if cost.params(narrow) <= most_params:
            files[name] = folder / f"multiple_{name}.tflite"
            save_tflite(narrow, files[name])
    measured = {name: latency.median for name, latency in measure(files).items()}
    best = min(measured, key=measured.__getitem__)
    return {"widths": candidates[best], "multiple": int(best), "milliseconds": measured}


def relative_latencies(
    reference: keras.Model, model: keras.Model, plans: Mapping[str, Widths], folder: pathlib.Path
) -> dict[str, float]:
    """LiteRT time of the model at several widths, relative to the reference's; all take turns."""
    files = {"reference": folder / "reference.tflite"}
    if not files["reference"].is_file():
        save_tflite(reference, files["reference"])
    for k, widths in enumerate(plans.values()):
        files[f"plan {k}"] = folder / f"narrow_{k}.tflite"
        save_tflite(shrink(model, first_channels(widths)), files[f"plan {k}"])
    found = measure(files, rounds=15, seconds=10)
    return {name: found[f"plan {k}"].median / found["reference"].median for k, name in enumerate(plans)}
