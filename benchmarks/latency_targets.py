"""Widths for a share of the LiteRT time: is the target hit, and do they beat uniform widths of the same MACs?

    .venv/bin/python benchmarks/latency_targets.py --out results/latency_targets.json

ResNet-20 at 32x32 and MobileNet-v2 at 224x224, random weights, target 0.6, multiples chosen by measuring. At the end
the dense network, the chosen widths, and uniform widths of as many MACs take turns.
"""

import argparse
import functools
import pathlib
import tempfile
from collections.abc import Callable

import keras
from turns import write

from secateur import export
from secateur.nets.mobilenet import mobilenet_v2
from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.widths import WidthCost, Widths, first_channels, fitted, uniform_widths

NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "resnet20": lambda: resnet((32, 32, 3), 10, 20),
    "mobilenet_v2": lambda: mobilenet_v2(),
}
TARGET, ROUNDS = 0.6, 60


def row(dense: keras.Model, folder: pathlib.Path) -> dict:
    """What was chosen, and how long it takes beside the dense network and beside uniform widths."""
    graph = ChannelGraph(dense)
    sizes = {n: group.size for n, group in graph.groups.items() if group.prunable and not group.passes_add}
    family = functools.partial(uniform_widths, sizes)
    chosen = export.widths_for_target("latency", TARGET, dense, dense, family, "auto", folder)
    counted = WidthCost(graph)
    uniform = fitted(family, counted.macs, counted.macs(chosen), 24)
    plans: dict[str, Widths] = {"dense": {}, "chosen": chosen, "uniform": uniform}
    models = {name: shrink(dense, first_channels(widths)) for name, widths in plans.items()}
    files = {name: folder / f"{name}.tflite" for name in models}
    for name, model in models.items():
        export.save_tflite(model, files[name])
    found = {name: latency.median for name, latency in export.measure(files, rounds=ROUNDS, seconds=60).items()}
    return {
        "target": TARGET,
        "share_of_time": found["chosen"] / found["dense"],
        "share_of_macs": cost.macs(models["chosen"]) / cost.macs(dense),
        "uniform_share_of_time": found["uniform"] / found["dense"],
        "uniform_share_of_macs": cost.macs(models["uniform"]) / cost.macs(dense),
        "faster_than_uniform": found["uniform"] / found["chosen"],
        "milliseconds": found,
        "widths": dict(chosen),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="which")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    rows = {}
    for name in args.networks:
        keras.utils.set_random_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = row(NETWORKS[name](), pathlib.Path(folder))
        print(
            f"{name}: {rows[name]['share_of_time']:.3f} of the time (target {TARGET}) at "
            f"{rows[name]['share_of_macs']:.3f} of the MACs, {rows[name]['faster_than_uniform']:.2f} times as fast as "
            "uniform widths of as many"
        )
    write(args.out, rows)


if __name__ == "__main__":
    main()
