"""Whether the loss decides which filters FCF removes: the size of its gradient, and what becomes of it.

    .venv/bin/python benchmarks/fcf_choice.py --data_dir DIR --out results/fcf_choice.json

First the gradient of the loss in the scalars of a trained ResNet-20, for scalars on the filters, on the norms behind
them and on the kernels that read: spread of the means over filters, and noise of a batch. Then scalars whose gradients
are as large and as noisy: how many of the filters that the loss would rather lose are lost, by `--fcf_alpha`.
"""

import argparse
import pathlib

import keras
import numpy as np
import tensorflow as tf
from turns import write

from secateur.datasets import cifar10
from secateur.learners.fcf import ops
from secateur.learners.fcf.admm import AdmmState, Rho, update
from secateur.pruning import ChannelGraph
from secateur.pruning.blocks import branch_convolutions
from secateur.pruning.gates import Gate, gated_kernels, maker_gates, reader_gates
from secateur.training.precision import to_training
from secateur.training.steps import forward
from secateur.training.task import cross_entropy

MODEL = pathlib.Path(__file__).parents[1] / "results" / "resnet20_at_cifar10_full-prec" / "model.keras"
NB_BATCHES, BATCH_SIZE = 390, 128
SIZE, KEPT, NB_ROWS, NB_STEPS = 64, 48, 8, 3900


def filter_gates(model: keras.Model, layers: list[str]) -> list[Gate]:
    """Scalars on the filters themselves, as the paper writes it."""
    sizes = [model.get_layer(name).filters for name in layers]
    return [
        Gate(name, 3, np.full(size, row), np.arange(size))
        for row, (name, size) in enumerate(zip(layers, sizes, strict=True))
    ]


def gradient_sizes(model: keras.Model, gates: list[Gate], sizes: list[int], batches: list) -> dict:
    """Over all rows: root mean square of the gradient, spread over a row of its means, noise of one batch.

    The noise that is left in means over so many batches is taken off the spread.
    """
    scalars = np.ones((len(sizes), max(sizes)), np.float32)

    @tf.function
    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        ones = tf.constant(scalars)
        with tf.GradientTape() as tape:
            tape.watch(ones)
            loss = cross_entropy(labels, forward(model, images, gated_kernels(model, gates, ones)))
        return tape.gradient(loss, ones)

    found = np.stack([gradient(*batch).numpy() for batch in batches])
    rows = [found[:, row, :size] for row, size in enumerate(sizes)]
    noises = [np.mean(row.var(axis=0, ddof=1)) for row in rows]
    spreads = [max(row.mean(axis=0).var() - noise / len(row), 0.0) for row, noise in zip(rows, noises, strict=True)]
    return {
        "rms": float(np.sqrt(np.mean([np.mean(row**2) for row in rows]))),
        "spread": float(np.sqrt(np.median(spreads))),
        "noise": float(np.sqrt(np.median(noises))),
    }


def share_of_right(alpha: float, spread: float, noise: float) -> float:
    """How many of the filters with the largest mean gradient are among those that go."""
    mean = spread * np.random.default_rng(0).normal(size=(NB_ROWS, SIZE))
    state, rho = AdmmState(list(np.ones((NB_ROWS, SIZE))), [KEPT] * NB_ROWS), Rho(0.01, 6.0, NB_STEPS // 2)

    @tf.function
    def train() -> None:
        for k in tf.range(NB_STEPS):
            gradient = tf.constant(mean, tf.float32) + noise * tf.random.stateless_normal(mean.shape, tf.stack([k, 0]))
            update(state, gradient, ops.box_projection, rho(state.steps.value), 0.1, alpha)

    train()
    lost = [set(range(SIZE)) - set(channels.tolist()) for channels in state.kept()]
    wanted = [set(np.argsort(row)[KEPT:].tolist()) for row in mean]
    return float(np.mean([len(a & b) / (SIZE - KEPT) for a, b in zip(lost, wanted, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=pathlib.Path, required=True, help="CIFAR-10")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    dense = keras.models.load_model(MODEL, compile=False)
    graph, model = ChannelGraph(dense), to_training(dense, "float32")
    layers, groups = branch_convolutions(graph.record), [name for name, g in graph.groups.items() if g.prunable]
    batches = list(cifar10.load(args.data_dir).train_batches(BATCH_SIZE, 0).take(NB_BATCHES))
    filters = [model.get_layer(name).filters for name in layers]
    sizes = [graph.groups[name].size for name in groups]
    gradients = {
        "filters": gradient_sizes(model, filter_gates(model, layers), filters, batches),
        "norms behind the filters": gradient_sizes(model, maker_gates(graph, layers), filters, batches),
        "kernels that read a group": gradient_sizes(model, reader_gates(graph, groups), sizes, batches),
    }
    for name, found in gradients.items():
        print(f"{name:26}" + "  ".join(f"{key} {value:.1e}" for key, value in found.items()))
    read = gradients["kernels that read a group"]
    right = {str(alpha): share_of_right(alpha, read["spread"], read["noise"]) for alpha in (0.99, 0.9, 0.65, 0.3)}
    chance = 1 - KEPT / SIZE
    print(f"right choices by alpha (chance {chance:.2f}): " + "  ".join(f"{a}: {v:.2f}" for a, v in right.items()))
    write(args.out, {"gradients": gradients, "right_choices": right, "chance": chance})


if __name__ == "__main__":
    main()
