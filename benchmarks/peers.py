"""Against others, on one machine in one run: training steps, analysing and pruning a network, what MACs left are worth.

    .venv/bin/python benchmarks/peers.py --out results/peers.json

Training steps are those of `train_step.py`. PyTorch takes part where `torch` is installed, Torch-Pruning where
`torch_pruning` and `torchvision` are (`.venv/bin/pip install torch torchvision torch-pruning`). The predecessor's
export is played by what it writes: in front of a convolution a 1x1 convolution that picks the kept inputs. Run it on an
idle machine.
"""

import argparse
import importlib
import importlib.util
import pathlib
import tempfile
from importlib import metadata

# They bring an LLVM of their own, which refuses to be loaded after TensorFlow's.
for peer in filter(importlib.util.find_spec, ("torchvision", "torch_pruning")):
    importlib.import_module(peer)

import keras
import numpy as np
import peers_pruning
import tensorflow as tf
import train_step
from turns import write

from secateur import export
from secateur.learners.fcf import squeeze
from secateur.nets.resnet import resnet_ilsvrc12
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.widths import WidthCost, Widths, first_channels, fitted, uniform_widths

RATIO = 0.5
PEERS = ("torch", "torch-pruning")


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


def widths_at_macs(model: keras.Model, share: float) -> Widths:
    """Uniform widths of all groups, as wide as so many MACs allow."""
    graph = ChannelGraph(model)
    counted = WidthCost(graph)
    sizes = {group.name: group.size for group in graph.groups.values() if group.prunable}
    return fitted(lambda x: uniform_widths(sizes, x), counted.macs, share * cost.macs(model), 24)


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
    widths = widths_at_macs(dense, share)
    with tempfile.TemporaryDirectory() as folder:
        by_time = export.fastest_multiple(dense, widths, pathlib.Path(folder))["widths"]
    models = {
        "dense": dense,
        "channels removed": shrink(dense, first_channels(widths)),
        "channels removed, --channel_multiple auto": shrink(dense, first_channels(by_time)),
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
    # Dense kernels multiply by zeros too, so of zeroed weights the share of MACs says nothing.
    macs = {name: cost.macs(model) / cost.macs(dense) for name, model in models.items() if name != "weights zeroed"}
    left = {name: {"macs_left": macs[name]} if name in macs else {"weights_left": share} for name in found}
    return {name: {"ms": row.median, "bytes": sizes[name], **left[name]} for name, row in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    steps, pruning, found = train_step.measured(), peers_pruning.measured(), latencies()
    for name, row in found.items():
        faster = found["dense"]["ms"] / row["ms"]
        left = ", ".join(f"{key} {row[key]:.2f}" for key in ("macs_left", "weights_left") if key in row)
        print(f"ResNet-18 at 224, {name:41} {row['ms']:7.2f} ms, {faster:.2f} times as fast, "
              f"{left}, {row['bytes'] / 1e6:.1f} MB")  # fmt: skip
    versions = {name: metadata.version(name) for name in PEERS if importlib.util.find_spec(name.replace("-", "_"))}
    write(args.out, {"peers": versions, "train_step": steps, "pruning_seconds": pruning, "latency": found})


if __name__ == "__main__":
    main()
