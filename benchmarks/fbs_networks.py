"""Whole gated networks in LiteRT that skip what is off, against the dense ones.

    .venv/bin/python benchmarks/fbs_networks.py --out results/fbs_networks.json

M-CifarNet at 32x32 and VGG16 at 224x224 with random weights and random predictors, which choose other channels for each
picture, at density 0.5; each gate in the form that the learner would choose. Batch 1, one thread, the files of a
network take turns, medians. Run it on an idle machine.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
from turns import write

from secateur import export
from secateur.learners.fbs import choice, gated
from secateur.learners.fbs.skipping import build
from secateur.nets.cifarnet import cifarnet
from secateur.nets.vgg import vgg16_ilsvrc12
from secateur.pruning import cost

# Network to what builds it and how many times as fast as the dense one it should be.
NETWORKS = {"M-CifarNet": (cifarnet, 1.6), "VGG16": (vgg16_ilsvrc12, 1.8)}
DENSITY = 0.5


def gated_network(dense: keras.Model) -> keras.Model:
    """With predictors that look at what distinguishes noise from other noise."""
    model = gated.gated(dense, 1.0, "sum", 0.0)
    pictures = np.random.default_rng(0).uniform(0, 255, (4, *dense.input_shape[1:])).astype(np.float32)
    gated.calibrate(model, [pictures], seed=0)
    for gate in gated.gate_layers(model):
        gate.set_density(DENSITY)
    return model


def row(name: str, folder: pathlib.Path) -> dict:
    build_network, goal = NETWORKS[name]
    dense = build_network()
    model = gated_network(dense)
    forms = choice.fastest(model, folder)["forms"]
    files = {"dense": folder / "dense.tflite", "gated": folder / "gated.tflite"}
    export.save_tflite(dense, files["dense"])
    export.save_tflite(build(model, forms), files["gated"])
    times = {key: latency.median for key, latency in export.measure(files, seconds=60.0).items()}
    macs = {"dense": cost.macs(dense), "gated": choice.executed_macs(model, forms)}
    fewer, faster = macs["dense"] / macs["gated"], times["dense"] / times["gated"]
    print(f"{name}: {fewer:.2f} times fewer MACs executed, {faster:.2f} times as fast (goal {goal})")
    return {
        "network": name,
        "density": DENSITY,
        "times_as_fast": faster,
        "goal": goal,
        "milliseconds": times,
        "macs_executed": macs,
        "forms": forms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    rows = []
    for name in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(name, pathlib.Path(folder)))
    write(args.out, {"rows": rows})


if __name__ == "__main__":
    main()
