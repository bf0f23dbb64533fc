"""How long a training step takes: this program, stock Keras `model.fit`, and PyTorch where it is installed.

    .venv/bin/python benchmarks/train_step.py --out results/train_step.json

ResNet-20 on random 32x32 pictures, batch 128, SGD with Nesterov momentum and weight decay. The contenders take turns in
one process, so that a machine that slows down slows all of them; figures are medians over the turns. Run it on an idle
machine.
"""

import argparse
import functools
import importlib.util
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from turns import show, take_turns, times_as_fast, write

from secateur.nets.resnet import resnet
from secateur.training import precision
from secateur.training.steps import sgd, train_step
from secateur.training.task import Recipe, cross_entropy

BATCH, WEIGHT_DECAY = 128, 5e-4
ROUNDS, STEPS = 7, 30
RECIPE = Recipe(nb_epochs=1, learning_rate=0.1, nb_epochs_ft=1, learning_rate_ft=0.1)
# (ours, other): the ratio that each pair should reach.
GOALS = {
    ("secateur default", "keras default"): 2.0,
    ("secateur bfloat16", "keras bfloat16"): 1.8,
    ("secateur float32", "keras float32"): 1.25,
    ("secateur bfloat16", "torch bfloat16"): 1.0,
    ("secateur float32", "torch float32"): 1.0,
}


def batch() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.uniform(0, 255, (BATCH, 32, 32, 3)).astype(np.float32), generator.integers(0, 10, BATCH, np.int32)


def ours(kind: str) -> Callable[[int], None]:
    """This program's step, fed by `tf.data` like the training loop's."""
    model = precision.to_training(resnet((32, 32, 3), 10, 20), kind)
    step = train_step(model, sgd(RECIPE, 0.01), cross_entropy, WEIGHT_DECAY)
    batches = iter(tf.data.Dataset.from_tensors(batch()).repeat().prefetch(2))

    def run(nb_steps: int) -> None:
        for _ in range(nb_steps):
            metrics = step(*next(batches))
        float(metrics["loss"])

    return run


def keras_fit(policy: str) -> Callable[[int], None]:
    """Keras as its documentation shows it: stock layers, `compile`, `fit`."""
    keras.config.set_dtype_policy(policy)
    model = resnet((32, 32, 3), 10, 20)
    keras.config.set_dtype_policy("float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
    model.compile(optimizer, loss, metrics=["accuracy"])
    # The tuner of tf.data looks after 10, 20, 40, ... ms; a fit that ends waits for its next look, maybe for seconds.
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    data = tf.data.Dataset.from_tensors(batch()).repeat().prefetch(2).with_options(untuned)

    def run(nb_steps: int) -> None:
        model.fit(data, steps_per_epoch=nb_steps, epochs=1, verbose=0)

    return run


def torch_loop(kind: str) -> Callable[[int], None]:
    """The same network and optimizer in PyTorch, channels-last, on as many threads as TensorFlow takes."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    conv = functools.partial(torch.nn.Conv2d, bias=False)

    class Block(torch.nn.Module):
        def __init__(self, width_in: int, width: int, stride: int):
            super().__init__()
            norm = torch.nn.BatchNorm2d
            self.body = torch.nn.Sequential(
                conv(width_in, width, 3, stride, 1),
                norm(width),
                torch.nn.ReLU(),
                conv(width, width, 3, 1, 1),
                norm(width),
            )
            same = width_in == width
            self.way = (
                torch.nn.Identity() if same else torch.nn.Sequential(conv(width_in, width, 1, stride), norm(width))
            )

        def forward(self, x):
            return torch.relu(self.way(x) + self.body(x))

    blocks = [Block(a, b, s) for a, b, s in [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2]
    blocks += [Block(a, b, s) for a, b, s in [(32, 64, 2)] + [(64, 64, 1)] * 2]
    stem = [conv(3, 16, 3, 1, 1), torch.nn.BatchNorm2d(16), torch.nn.ReLU()]
    head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 10)]
    model = torch.nn.Sequential(*stem, *blocks, *head).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
    images, labels = batch()
    images = torch.from_numpy(images.transpose(0, 3, 1, 2) / 64 - 2).to(memory_format=torch.channels_last)
    labels = torch.from_numpy(labels).long()

    def run(nb_steps: int) -> None:
        for _ in range(nb_steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
                logits = model(images)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def contenders() -> dict[str, Callable[[int], None]]:
    default = precision.resolve("auto", has_gpu=False, has_bfloat16=precision.cpu_has_bfloat16())
    found = {f"secateur {kind}": ours(kind) for kind in ("float32", "bfloat16")}
    found |= {"keras float32": keras_fit("float32"), "keras bfloat16": keras_fit("mixed_bfloat16")}
    if importlib.util.find_spec("torch"):
        found |= {f"torch {kind}": torch_loop(kind) for kind in ("float32", "bfloat16")}
    return found | {"secateur default": found[f"secateur {default}"], "keras default": found["keras float32"]}


def measured(rounds: int = ROUNDS, steps: int = STEPS) -> dict:
    """Milliseconds a step of each contender, and the ratios of the pairs that have a goal.

    Args:
        rounds: turns of each contender.
        steps: of a turn.
    """
    times = take_turns(contenders(), rounds, steps)
    medians, ratios = show(times), {}
    for (mine, other), goal in GOALS.items():
        if other in times:
            ratio = times_as_fast(times[mine], times[other])
            ratios[f"{mine} against {other}"] = {"times_as_fast": round(ratio, 3), "goal": goal}
            print(f"{mine} is {ratio:.2f} times as fast as {other} (goal {goal})")
    return {"milliseconds": medians, "ratios": ratios, "turns": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each contender")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps per turn")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    write(args.out, measured(args.rounds, args.steps))


if __name__ == "__main__":
    main()
