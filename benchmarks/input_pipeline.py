"""Whether the augmentation keeps up: milliseconds per batch of the input pipeline against the training step's.

    .venv/bin/python benchmarks/input_pipeline.py --out results/input_pipeline.json

50,000 random pictures of 32x32, batch 128, pad-crop-flip. The two take turns in one process. Run it on an idle machine.
"""

import argparse
import pathlib

import numpy as np
import tensorflow as tf
from turns import show, take_turns, write

from secateur.datasets.arrays import ArrayDataset, Augment
from secateur.nets.resnet import resnet
from secateur.training import precision
from secateur.training.steps import sgd, train_step
from secateur.training.task import Recipe, cross_entropy

BATCH, GOAL = 128, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (50_000, 32, 32, 3), np.uint8)
    labels = np.zeros(50_000, np.int32)
    data = ArrayDataset("random", "a", images, labels, images[:1], labels[:1], Augment(pad=4, flip=True))
    batches = iter(data.train_batches(BATCH, seed=0))
    kind = precision.resolve("auto", has_gpu=False, has_bfloat16=precision.cpu_has_bfloat16())
    model = precision.to_training(resnet((32, 32, 3), 10, 20), kind)
    recipe = Recipe(nb_epochs=1, learning_rate=0.1, nb_epochs_ft=1, learning_rate_ft=0.1)
    step = train_step(model, sgd(recipe, 0.01), cross_entropy, recipe.weight_decay)
    ready = tf.constant(images[:BATCH], tf.float32), tf.constant(labels[:BATCH])

    def read(nb_batches: int) -> None:
        for _ in range(nb_batches):
            _, labels = next(batches)
        np.asarray(labels)

    def compute(nb_steps: int) -> None:
        for _ in range(nb_steps):
            metrics = step(*ready)
        float(metrics["loss"])

    contenders = {"input": lambda steps: read(10 * steps), "step": compute}
    times = take_turns(contenders, args.rounds, 10)
    medians = show(times | {"input": [found / 10 for found in times["input"]]})
    ratio = medians["step"] / medians["input"]
    print(f"{ratio:.1f} times as fast as the step needs (goal {GOAL}, {kind})")
    write(args.out, {"milliseconds": medians, "times_as_fast": ratio, "goal": GOAL})


if __name__ == "__main__":
    main()
