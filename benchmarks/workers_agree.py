"""Whether two workers train as one with twice the batch: weights after the same pictures, with and without --sync_bn.

    .venv/bin/python benchmarks/workers_agree.py --out results/workers_agree.json

A ResNet-8 on random pictures, batch 32 in all, on the CPU; 50 steps in float64, 5 in float32.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from turns import write

from secateur.utils.workers import environments

BATCH = 32
NB_STEPS = {"float64": 50, "float32": 5}
# The largest difference of a weight, relative to the largest weight of its tensor.
GOALS = {"float64": 1e-6, "float32": 1e-3}


def worker(kind: str, synchronized: bool, nb_steps: int, path: pathlib.Path) -> None:
    """Train, and write the weights after the first and after the last step."""
    from secateur.training import parallel

    parallel.init()
    import keras
    import tensorflow as tf

    from secateur.nets.resnet import resnet
    from secateur.training.layers import SynchronizedBatchNormalization
    from secateur.training.steps import apply_gradients

    keras.config.set_dtype_policy(kind)
    keras.utils.set_random_seed(0)
    model = resnet((8, 8, 1), 10, 8, (8, 16, 32))

    def norm(layer: keras.layers.Layer) -> keras.layers.Layer:
        swap = synchronized and isinstance(layer, keras.layers.BatchNormalization)
        return (SynchronizedBatchNormalization if swap else type(layer)).from_config(layer.get_config())

    weights = model.get_weights()
    model = keras.models.clone_model(model, clone_function=norm)
    model.set_weights(weights)
    variables, moving = model.trainable_variables, model.non_trainable_variables
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    optimizer.build(variables)

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        apply_gradients(optimizer, tape.gradient(loss, variables), variables, moving)

    own = slice(parallel.rank(), None, parallel.size())
    found = {}
    for k in range(nb_steps):
        generator = np.random.default_rng(k)
        images = generator.uniform(0, 255, (BATCH, 8, 8, 1))[own]
        step(tf.constant(images, kind), tf.constant(generator.integers(0, 10, BATCH)[own], tf.int32))
        if k in (0, nb_steps - 1):
            found |= {f"{k}/{i}": value for i, value in enumerate(model.get_weights())}
    parallel.barrier()
    if parallel.is_primary():
        np.savez(path, **found)


def trained(kind: str, synchronized: bool, nb_steps: int, size: int, folder: pathlib.Path) -> dict[str, np.ndarray]:
    """The weights of a run on so many workers."""
    path = folder / f"{kind}_{synchronized}_{size}.npz"
    command = [sys.executable, __file__, "--worker", kind, str(int(synchronized)), str(nb_steps), str(path)]
    places = environments(["-1"] * size) if size > 1 else [{"CUDA_VISIBLE_DEVICES": "-1"}]
    processes = [subprocess.Popen(command, env=os.environ | place) for place in places]
    codes = [process.wait(600) for process in processes]
    if any(codes):
        sys.exit(f"error: a worker of {size} failed")
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def difference(a: dict[str, np.ndarray], b: dict[str, np.ndarray], step: int) -> float:
    """The largest difference of a weight after a step, relative to the largest one of its tensor."""
    names = [name for name in a if name.startswith(f"{step}/")]
    return max(float(np.abs(a[n] - b[n]).max() / max(np.abs(a[n]).max(), 1e-12)) for n in names)


def measured(nb_steps: dict[str, int]) -> list[dict]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, count in nb_steps.items():
            for synchronized in (True, False):
                one, two = (trained(kind, synchronized, count, size, pathlib.Path(folder)) for size in (1, 2))
                first, last = (difference(one, two, step) for step in (0, count - 1))
                rows.append({"kind": kind, "sync_bn": synchronized, "steps": count, "first": first, "last": last})
                print(f"{kind}, {'with' if synchronized else 'without'} --sync_bn: {first:.2g} after a step, "
                      f"{last:.2g} after {count}")  # fmt: skip
    return rows


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        kind, synchronized, nb_steps, path = sys.argv[2:]
        worker(kind, bool(int(synchronized)), int(nb_steps), pathlib.Path(path))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    rows = measured(NB_STEPS)
    write(args.out, {"rows": rows, "goals": GOALS})


if __name__ == "__main__":
    main()
