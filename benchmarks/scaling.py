"""How well two workers share the work, and what that says of more: pictures a second of ResNet-20 training.

    .venv/bin/python benchmarks/scaling.py --out results/scaling.json

One process on one core against two processes with one core each, batch 128 each; bytes that a worker sends in a step
against the parameters; what an all-reduce of two processes takes by its size. From these parts a model of the step
(`step_model.py`) must explain the efficiency of two. From published speeds of one GPU, an assumed network and the
measured reader (results/decode.json) it says what 8 to 512 GPUs would give: with the all-reduce behind the backward
pass, as this program has it, and overlapping it, as Horovod has it, whose published figures stand beside: as far
off as the model is there it may be elsewhere. Run it on an idle machine of two cores or more.
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

import numpy as np
import step_model
from step_model import Network, efficiency, fitted
from turns import write

from secateur.utils.workers import environments

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCH, WARM_UP, STEPS, ROUNDS = 128, 5, 20, 7
GOAL = 0.85
# Of an all-reduce, in bytes; ResNet-20's is about a megabyte.
SIZES = tuple(1 << k for k in range(16, 25, 2))


def train(path: pathlib.Path) -> None:
    """A worker's steps."""
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
            begin, before = time.perf_counter(), sent()
        metrics = step(images, labels)
    float(metrics["loss"])
    parallel.barrier()
    seconds, count = time.perf_counter() - begin, (sent() - before) / STEPS / parallel.size()
    if parallel.is_primary():
        path.write_text(json.dumps({"seconds": seconds, "bytes": count, "params": model.count_params(), "kind": kind}))


def sent() -> int:
    """Bytes that the processes of this machine have sent each other."""
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[9]) for line in lines if line.strip().startswith("lo:"))


def reduce(path: pathlib.Path) -> None:
    """A worker's all-reduces: milliseconds by size."""
    from secateur.training import parallel

    parallel.init()
    import tensorflow as tf

    average, found = tf.function(parallel.average), {}
    for nb_bytes in SIZES:
        tensor, times = tf.ones([nb_bytes // 4]), []
        for _ in range(WARM_UP + STEPS):
            begin = time.perf_counter()
            float(average([tensor])[0][0])
            times.append(1e3 * (time.perf_counter() - begin))
        found[nb_bytes] = statistics.median(times[WARM_UP:])
    if parallel.is_primary():
        path.write_text(json.dumps(found))


TASKS = {"train": train, "reduce": reduce}


def carried_out(task: str, size: int) -> dict:
    """What the first of so many processes, one core each, found."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "found.json"
        places = environments(["-1"] * size) if size > 1 else [{"CUDA_VISIBLE_DEVICES": "-1"}]
        processes = []
        for rank, place in enumerate(places):
            place |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
            command = ["taskset", "-c", str(rank), sys.executable, __file__, "--worker", task, str(path)]
            processes.append(subprocess.Popen(command, env=os.environ | place))
        try:
            if any(process.wait(600) for process in processes):
                sys.exit(f"error: a worker of {size} failed")
        finally:
            for process in processes:
                process.kill()
        return json.loads(path.read_text())


def measured() -> dict:
    """Pictures a second of one and two processes, their efficiency, and what the model of a step makes of the parts."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    rows: dict[int, list[dict]] = {1: [], 2: []}
    for k in range(ROUNDS):
        # Every other time the other way round, so that a machine that gets slower favours neither.
        for size in (1, 2) if k % 2 else (2, 1):
            row = carried_out("train", size)
            rows[size].append(row)
            rates[size].append(size * BATCH * STEPS / row["seconds"])
    found = [two / (2 * one) for one, two in zip(rates[1], rates[2], strict=True)]
    shared, row = statistics.median(found), rows[2][-1]
    times = {int(nb_bytes): found for nb_bytes, found in carried_out("reduce", 2).items()}
    link = fitted(times)
    alone = Network(row["bytes"], 1e3 * BATCH / statistics.median(rates[1]), BATCH)
    explained = efficiency(alone, 2, link, 0.0)
    for size, several in rates.items():
        print(f"{size} process(es), one core each: {statistics.median(several):.0f} pictures a second")
    span = f"{min(found):.3f} to {max(found):.3f}"
    print(f"efficiency {shared:.3f}, {span} (goal {GOAL}; {explained:.3f} by the model of a step), {row['kind']}")
    print(f"sent {row['bytes'] / 1e6:.2f} MB a step and worker, parameters have {4 * row['params'] / 1e6:.2f} MB")
    print(f"all-reduce of two: {link.gb:.2f} GB/s, {link.message_us:.0f} us a message")
    return {
        "pictures_per_second": rates,
        "efficiency": shared,
        "efficiency_of_rounds": found,
        "goal": GOAL,
        "efficiency_by_model": explained,
        "all_reduce_ms": times,
        "link": link._asdict(),
        "bytes_sent": row["bytes"],
        "bytes_of_parameters": 4 * row["params"],
        "precision": row["kind"],
    }


def predicted(rate: float) -> dict:
    """What P100s would give if the cores of each read so many pictures a second; how far published figures are."""
    link, tables, anchors = step_model.LINK, step_model.predictions(rate), step_model.anchors()
    print(f"P100s behind {link.gb} GB/s, {link.message_us:.0f} us a message, {rate:.0f} pictures a second read")
    for overlap, table in tables.items():
        print(f"all-reduce overlaps {overlap:.0%} of the backward pass:")
        for name, line in table.items():
            print(f"  {name:12} " + "  ".join(f"{size}: {share:.0%}" for size, share in line.items()))
    for name, row in anchors.items():
        print(f"{name}, {step_model.NB_ANCHOR} GPUs: published {row['published']:.0%}, the model is "
              f"{100 * row['error']:+.0f} points off: it would take {row['responsible']}")  # fmt: skip
    return {"efficiency_by_overlap": tables, "anchors": anchors, "decoded": rate, "link": link._asdict()}


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        TASKS[sys.argv[2]](pathlib.Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decode", type=pathlib.Path, default=ROOT / "results" / "decode.json", help="of decode.py")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    decoding = json.loads(args.decode.read_text())
    rate = step_model.CORES * decoding["pictures_per_second"]["reader"] / decoding["cores"]
    write(args.out, measured() | {"predicted": predicted(rate)})


if __name__ == "__main__":
    main()
