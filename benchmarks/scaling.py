"""How well two workers share the work, and what that says of more: pictures a second of ResNet-20 training.

    .venv/bin/python benchmarks/scaling.py --out results/scaling.json

One process on one core against two processes with one core each, batch 128 each; bytes all-reduced in a step against
the parameters. From published speeds of one GPU a model of the step (compute, all-reduce, input) says what 8 to 512
GPUs would give; its assumptions are printed. Run it on an idle machine of two cores or more.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
from turns import write

from secateur.utils.workers import environments

BATCH, WARM_UP, STEPS, ROUNDS = 128, 5, 20, 3
GOAL = 0.85
WORKERS = (8, 16, 32, 64, 128, 256, 512)


class Network(NamedTuple):
    """What the model of a step needs of a network.

    Attributes:
        params: that are all-reduced, float32.
        step_ms: of one GPU, forwards and backwards, without all-reduce.
        batch: pictures of a GPU in a step.
    """

    params: int
    step_ms: float
    batch: int


# One P100, float32: 219 and 154 pictures a second at batch 64 (tensorflow.org, "Benchmarks", DGX-1, May 2017).
NETWORKS = {"ResNet-50": Network(25_600_000, 64 / 0.219, 64), "VGG-16": Network(138_400_000, 64 / 0.154, 64)}
# Measured with Horovod on 512 P100 behind 25 Gbit Ethernet (Sergeev and Del Balso, 2018).
PUBLISHED_AT_512 = {"ResNet-50": 0.90, "VGG-16": 0.68}
# GB/s that a ring moves through each worker's link (25 Gbit Ethernet at nine tenths), share of the backward pass that
# overlaps, microseconds for each of the ring's messages.
LINK_GB, OVERLAP, MESSAGE_US = 2.8, 0.5, 30.0


def worker(path: pathlib.Path) -> None:
    from secateur.training import parallel

    parallel.init()
    import tensorflow as tf

    from secateur.nets.resnet import resnet
    from secateur.training import precision
    from secateur.training.steps import sgd, train_step
    from secateur.training.task import Recipe, cross_entropy

    kind = precision.resolve("auto", has_gpu=False, has_bfloat16=precision.cpu_has_bfloat16())
    model = precision.to_training(resnet((32, 32, 3), 10, 20), kind)
    step = train_step(model, sgd(Recipe(1, 0.1, 1, 0.1), 0.01), cross_entropy, 1e-4)
    generator = np.random.default_rng(parallel.rank())
    images = tf.constant(generator.uniform(0, 255, (BATCH, 32, 32, 3)).astype(np.float32))
    labels = tf.constant(generator.integers(0, 10, BATCH, np.int32))
    for k in range(WARM_UP + STEPS):
        if k == WARM_UP:
            parallel.barrier()
            begin = time.perf_counter()
        metrics = step(images, labels)
    float(metrics["loss"])
    parallel.barrier()
    seconds = time.perf_counter() - begin
    reduced = [*model.trainable_variables, *model.non_trainable_variables]
    if parallel.is_primary():
        count = sum(int(np.prod(v.shape)) * 4 for v in reduced if "float" in v.dtype)
        path.write_text(json.dumps({"seconds": seconds, "bytes": count, "params": model.count_params(), "kind": kind}))


def measured(size: int, folder: pathlib.Path) -> dict:
    """Pictures a second of so many processes, one core each."""
    path = folder / f"{size}.json"
    places = environments(["-1"] * size) if size > 1 else [{"CUDA_VISIBLE_DEVICES": "-1"}]
    processes = []
    for rank, place in enumerate(places):
        place |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = ["taskset", "-c", str(rank), sys.executable, __file__, "--worker", str(path)]
        processes.append(subprocess.Popen(command, env=os.environ | place))
    codes = [process.wait(600) for process in processes]
    if any(codes):
        sys.exit(f"error: a worker of {size} failed")
    found = json.loads(path.read_text())
    return found | {"pictures_per_second": size * BATCH * STEPS / found["seconds"]}


def predicted(network: Network, size: int) -> float:
    """Efficiency of so many GPUs: the step alone, over the step with the part of the all-reduce that shows."""
    ring_ms = 2 * (size - 1) / size * 4 * network.params / (LINK_GB * 1e6) + 2 * (size - 1) * MESSAGE_US / 1e3
    shown = max(ring_ms - OVERLAP * 2 / 3 * network.step_ms, 0.0)
    return network.step_ms / (network.step_ms + shown)


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        worker(pathlib.Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for size, found in rates.items():
                row = measured(size, pathlib.Path(folder))
                found.append(row["pictures_per_second"])
    efficiency = statistics.median(two / (2 * one) for one, two in zip(rates[1], rates[2], strict=True))
    for size, found in rates.items():
        print(f"{size} process(es), one core each: {statistics.median(found):.0f} pictures a second")
    print(f"efficiency {efficiency:.3f} (goal {GOAL}); all-reduced {row['bytes'] / 1e6:.2f} MB a step of "
          f"{4 * row['params'] / 1e6:.2f} MB of parameters, {row['kind']}")  # fmt: skip
    print(
        f"predicted for P100s (ring at {LINK_GB} GB/s, {OVERLAP:.0%} of the backward pass, two thirds of a step, "
        f"overlaps with it, {MESSAGE_US:.0f} us a message, input never waits):"
    )
    table = {name: {size: round(predicted(network, size), 3) for size in WORKERS} for name, network in NETWORKS.items()}
    for name, line in table.items():
        shown = "  ".join(f"{size}: {share:.0%}" for size, share in line.items())
        print(f"  {name:10} {shown} (published at 512: {PUBLISHED_AT_512[name]:.0%})")
    figures = {"pictures_per_second": rates, "efficiency": efficiency, "goal": GOAL, "bytes_reduced": row["bytes"]}
    write(args.out, figures | {"bytes_of_parameters": 4 * row["params"], "precision": row["kind"], "predicted": table})


if __name__ == "__main__":
    main()
