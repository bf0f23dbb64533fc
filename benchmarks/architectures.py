"""Every network of `keras.applications`, pruned: does the small one compute what the masked one does, and how small?

    .venv/bin/python benchmarks/architectures.py --out results/architectures.json

Random weights, channels chosen at random, 30 % and 50 % of every group that may be pruned. Batch norms have the
statistics of noise: with any others the activations of the deepest networks grow from block to block, until one network
run in two ways gives two answers (EfficientNetV2L does). A network that is done already (in --out) is not done again.
All forty take about an hour on 2 CPU cores; `--only NAME` does one.
Time and memory of finding the groups and shrinking once are compared with building the network and with its weights.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import pathlib
import tempfile
import time

import keras
import numpy as np

from secateur import export
from secateur.export import memory
from secateur.pruning import ChannelGraph, cost, mask, shrink
from secateur.pruning.copies import set_weights

NAMES = (
    *("Xception", "VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2"),
    *("InceptionV3", "InceptionResNetV2", "MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"),
    *("DenseNet121", "DenseNet169", "DenseNet201", "NASNetMobile", "NASNetLarge"),
    *(f"EfficientNetB{k}" for k in range(8)),
    *(f"EfficientNetV2{k}" for k in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    *(f"ConvNeXt{k}" for k in ("Tiny", "Small", "Base", "Large", "XLarge")),
)
RATIOS = (0.3, 0.5)
TOLERANCE = 1e-4
# Finding the groups and shrinking may take so many times the time of building, and the memory of the weights.
MOST_TIMES = 3


def randomise(model: keras.Model, pictures: np.ndarray) -> None:
    """Random scales and biases, the statistics of the pictures: fresh ones are 0 and 1 and hide wrong slices."""
    generator = np.random.default_rng(0)
    for variable in model.weights:
        kind = variable.path.rsplit("/", 1)[-1]
        if len(variable.shape) == 1 and kind in ("gamma", "variance"):
            variable.assign(generator.uniform(0.8, 1.2, variable.shape))
        elif len(variable.shape) == 1:
            variable.assign(generator.normal(0, 0.1, variable.shape))
    set_weights(model, model.get_weights())  # so that its normalisation knows
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(pictures, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def plan(graph: ChannelGraph, ratio: float) -> dict[str, list[int]]:
    generator = np.random.default_rng(1)
    groups = [group for group in graph.groups.values() if group.prunable]
    return {
        g.name: np.sort(generator.choice(g.size, g.size - int(ratio * g.size), replace=False)).tolist() for g in groups
    }


def prunable_share(model: keras.Model, graph: ChannelGraph) -> float:
    """Share of the MACs in layers that read or make channels of a prunable group."""
    touched = {n for g in graph.groups.values() if g.prunable for n in (*g.producers, *g.consumers, *g.members)}
    macs = cost.layer_macs(model)
    return sum(count for name, count in macs.items() if name in touched) / sum(macs.values())


def built(name: str) -> tuple[keras.Model, float]:
    """The network, and the seconds that building it takes."""
    begin = time.perf_counter()
    make = getattr(keras.applications, name)
    model = make(weights=None, classifier_activation=None)
    if None in model.input_shape[1:]:
        model = make(weights=None, classifier_activation=None, input_shape=(224, 224, 3))
    return model, time.perf_counter() - begin


def shrunk(model: keras.Model) -> tuple[ChannelGraph, keras.Model, float, int]:
    """Its graph, the network at half its channels, and the seconds and bytes that both take at their peak."""
    pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark begins anew
    before, begin = memory._status("VmRSS"), time.perf_counter()
    graph = ChannelGraph(model)
    small = shrink(graph, plan(graph, RATIOS[-1]))
    return graph, small, time.perf_counter() - begin, memory._status("VmHWM") - before


def error(expected: np.ndarray, found: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.sqrt(np.mean(np.square(expected, dtype=np.float64))))


def errors(graph: ChannelGraph, pictures: np.ndarray) -> list[float]:
    """Of the shrunk network against the masked one, at each ratio."""
    plans = [plan(graph, ratio) for ratio in RATIOS]
    pairs = ([network.predict_on_batch(pictures) for network in (mask(graph, p), shrink(graph, p))] for p in plans)
    return [error(*pair) for pair in pairs]


def lite_error(model: keras.Model, picture: np.ndarray) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.tflite"
        export.save_tflite(model, path)
        return error(model.predict_on_batch(picture), export.LiteModel(path, threads=2).predict(picture))


def row(name: str) -> dict:
    model, build = built(name)
    pictures = np.random.default_rng(2).uniform(0, 255, (2, *model.input_shape[1:])).astype(np.float32)
    randomise(model, pictures)
    graph, small, seconds, nb_bytes = shrunk(model)
    return {
        "name": name,
        "macs": cost.macs(model),
        "params": cost.params(model),
        "macs_at_50": cost.macs(small),
        "params_at_50": cost.params(small),
        "prunable_share": round(prunable_share(model, graph), 4),
        "max_relative_error": max(errors(graph, pictures)),
        "tflite_relative_error": lite_error(small, pictures[:1]),
        "seconds": round(seconds, 2),
        "seconds_to_build": round(build, 2),
        "peak_memory_mib": nb_bytes >> 20,
        "weights_mib": 4 * cost.params(model) >> 20,
        "not_prunable": sorted({g.reason for g in graph.groups.values() if not g.prunable})[:3],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=NAMES, help="names of networks")
    parser.add_argument("--out", type=pathlib.Path, help="write the rows as JSON")
    args = parser.parse_args()
    rows = json.loads(args.out.read_text()) if args.out and args.out.is_file() else []
    for name in args.only:
        if name in [r["name"] for r in rows]:
            continue
        # In a process of its own: memory that another network has freed would be used again, and not be seen.
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
            rows.append(pool.submit(row, name).result())
        r = rows[-1]
        print(
            f"{name:18} {r['macs'] / 1e6:8.0f} M MACs, {r['macs'] / r['macs_at_50']:.2f} times fewer at 50 %, "
            f"{100 * r['prunable_share']:.1f} % prunable, error {r['max_relative_error']:.1e}, "
            f".tflite {r['tflite_relative_error']:.1e}, {r['seconds']:.1f} s (build {r['seconds_to_build']:.1f} s), "
            f"{r['peak_memory_mib']} MiB (weights {r['weights_mib']} MiB)",
            flush=True,
        )
        if args.out:
            args.out.write_text(json.dumps(rows, indent=1) + "\n")
    good = [r["name"] for r in rows if r["max_relative_error"] <= TOLERANCE]
    print(f"{len(good)} of {len(rows)} equal within {TOLERANCE:g}")
    for used, given in (("seconds", "seconds_to_build"), ("peak_memory_mib", "weights_mib")):
        above = [r["name"] for r in rows if r[used] > MOST_TIMES * r[given]]
        print(f"{used} above {MOST_TIMES} times {given}: {', '.join(above) or 'none'}")


if __name__ == "__main__":
    main()
