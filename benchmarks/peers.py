"""Against others, on one machine in one run: training steps, analysing and pruning a network, what MACs left are worth.

    .venv/bin/python benchmarks/peers.py --out results/peers.json

Training steps are those of `train_step.py`. PyTorch takes part where `torch` is installed, Torch-Pruning where
`torch_pruning` and `torchvision` are. The predecessor's export is played by what it writes: in front of a convolution a
1x1 convolution that picks the kept inputs. Run it on an idle machine.
"""

import argparse
import importlib.util
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
import train_step
from turns import write

from secateur import export
from secateur.learners.fcf import squeeze
from secateur.nets.resnet import resnet_ilsvrc12
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.widths import WidthCost, first_channels, fitted, uniform_widths

RATIO, ROUNDS = 0.5, 5


def median_seconds(function: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def ours() -> dict[str, float]:
    """Analysis of ResNet-50 and removal of half of every group's channels."""
    model = keras.applications.ResNet50(weights=None, classifier_activation=None)
    graph = ChannelGraph(model)
    keep = {g.name: list(range(g.size - int(RATIO * g.size))) for g in graph.groups.values() if g.prunable}
    return {
        "analysis": median_seconds(lambda: ChannelGraph(model)),
        "pruning": median_seconds(lambda: shrink(graph, keep)),
        "macs_left": cost.macs(shrink(graph, keep)) / cost.macs(model),
    }


def torch_pruning() -> dict[str, float] | None:
    """The same by Torch-Pruning; None where it is not installed."""
    if not (importlib.util.find_spec("torch_pruning") and importlib.util.find_spec("torchvision")):
        return None
    import torch
    import torch_pruning as tp
    import torchvision

    example = torch.zeros(1, 3, 224, 224)

    def build() -> torch.nn.Module:
        return torchvision.models.resnet50(weights=None).eval()

    def pruner(model: torch.nn.Module) -> tp.pruner.MagnitudePruner:
        importance = tp.importance.MagnitudeImportance(p=1)
        return tp.pruner.MagnitudePruner(
            model, example, importance=importance, pruning_ratio=RATIO, ignored_layers=[model.fc]
        )

    times, left = [], 0.0
    for _ in range(ROUNDS):
        model = build()
        dense, _ = tp.utils.count_ops_and_params(model, example)
        begin = time.perf_counter()
        made = pruner(model)
        middle = time.perf_counter()
        made.step()
        times.append((middle - begin, time.perf_counter() - middle))
        left = tp.utils.count_ops_and_params(model, example)[0] / dense
    analysis, pruning = (statistics.median(part) for part in zip(*times, strict=True))
    return {"analysis": analysis, "pruning": pruning, "macs_left": left}


def one_hot_export(model: keras.Model, ratio: float) -> keras.Model:
    """As the predecessor exports: every convolution but the first reads a share of its inputs, picked by a 1x1 one."""
    generator, masks = np.random.default_rng(0), {}
    for layer in model.layers:
        if type(layer) is keras.layers.Conv2D and layer.name != "stem":
            _, _, read, made = layer.kernel.shape
            mask = np.ones(read, np.float32)
            mask[generator.choice(read, int(ratio * read), replace=False)] = 0.0
            masks[layer.name] = (mask, np.ones(made, np.float32))
    return squeeze.build(model, masks, dict.fromkeys(masks, squeeze.SQUEEZE))


def at_macs(model: keras.Model, share: float) -> keras.Model:
    """Uniform widths of all groups, as wide as so many MACs allow."""
    graph = ChannelGraph(model)
    counted = WidthCost(graph)
    sizes = {group.name: group.size for group in graph.groups.values() if group.prunable}
    widths = fitted(lambda x: uniform_widths(sizes, x), counted.macs, share * cost.macs(model), 24)
    return shrink(graph, first_channels(widths))


def thinned(model: keras.Model, share: float) -> keras.Model:
    """Unstructured magnitude pruning: so many of each kernel's weights stay, the others are zero."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = layer.kernel.numpy()
            limit = np.quantile(np.abs(kernel), 1 - share)
            layer.kernel.assign(np.where(np.abs(kernel) >= limit, kernel, 0.0))
    return copy


def save_sparse(model: keras.Model, path: pathlib.Path) -> None:
    """With the converter's own encoding of sparse weights."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    path.write_bytes(converter.convert())


def latencies() -> dict[str, dict[str, float]]:
    """LiteRT milliseconds of ResNet-18 at 224, by what pruned it, at the MACs of the predecessor's export."""
    keras.utils.set_random_seed(0)
    dense = resnet_ilsvrc12(18)
    predecessor = one_hot_export(dense, RATIO)
    share = cost.macs(predecessor) / cost.macs(dense)
    models = {
        "dense": dense,
        "channels removed": at_macs(dense, share),
        "picked by 1x1 convolutions": predecessor,
        "weights zeroed": thinned(dense, share),
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: pathlib.Path(folder) / f"{k}.tflite" for k, name in enumerate(models)}
        for name, model in models.items():
            export.save_tflite(model, paths[name])
        paths["weights zeroed, sparse encoding"] = pathlib.Path(folder) / "sparse.tflite"
        save_sparse(models["weights zeroed"], paths["weights zeroed, sparse encoding"])
        found = export.measure(paths, rounds=10, seconds=120.0)
        sizes = {name: path.stat().st_size for name, path in paths.items()}
    macs = {name: cost.macs(model) / cost.macs(dense) for name, model in models.items()}
    return {
        name: {"ms": row.median, "bytes": sizes[name], "macs_share": macs.get(name, share)}
        for name, row in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    steps = train_step.measured()
    pruning = {"secateur": ours(), "Torch-Pruning": torch_pruning()}
    for name, row in pruning.items():
        if row:
            print(f"ResNet-50, {name}: analysis {row['analysis']:.2f} s, pruning {row['pruning']:.2f} s, "
                  f"{100 * row['macs_left']:.1f} % of the MACs left")  # fmt: skip
        else:
            print(f"ResNet-50, {name}: not installed")
    found = latencies()
    for name, row in found.items():
        faster = found["dense"]["ms"] / row["ms"]
        print(f"ResNet-18 at 224, {name:32} {row['ms']:7.2f} ms, {faster:.2f} times as fast, "
              f"{100 * row['macs_share']:.0f} % of the MACs, {row['bytes'] / 1e6:.1f} MB")  # fmt: skip
    write(args.out, {"train_step": steps, "pruning_seconds": pruning, "latency": found})


if __name__ == "__main__":
    main()
