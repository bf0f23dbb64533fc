"""What ADMM costs: a step of joint training of weights and scalars against a plain training step.

    .venv/bin/python benchmarks/fcf_step.py --out results/fcf_step.json

ResNet-20 on random 32x32 pictures, batch 128, all channel groups; the box projection by bisection inside the graph and
by OSQP in every step. Run it on an idle machine.
"""

import argparse
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from turns import show, take_turns, times_as_fast, write

from secateur.learners.fcf import ops
from secateur.learners.fcf.admm import AdmmState, Rho, admm_step, update
from secateur.learners.fcf.config import FcfConfig
from secateur.learners.fcf.osqp_projection import OsqpProjection
from secateur.learners.fcf.scopes import GroupScope
from secateur.nets.recipes import RESNET_AT_CIFAR10
from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph
from secateur.training import precision
from secateur.training.steps import Step, sgd, train_step
from secateur.training.task import cross_entropy

# A plain step may cost at most so many times less.
GOAL = 1.15
DECAY = RESNET_AT_CIFAR10.fine_tuning.weight_decay


def runner(step: Step) -> Callable[[int], None]:
    generator = np.random.default_rng(0)
    images = tf.constant(generator.uniform(0, 255, (128, 32, 32, 3)).astype(np.float32))
    labels = tf.constant(generator.integers(0, 10, 128, np.int32))

    def run(nb_steps: int) -> None:
        for _ in range(nb_steps):
            metrics = step(images, labels)
        float(metrics["loss"])

    return run


def joint(kind: str, solver: str) -> Step:
    config, dense = FcfConfig(), resnet((32, 32, 3), 10, 20)
    scope, model = GroupScope(ChannelGraph(dense), config.fcf_form), precision.to_training(dense, kind)
    magnitudes = list(scope.magnitudes().values())
    sizes = [len(values) for values in magnitudes]
    counts = [size * 3 // 4 for size in sizes]
    state = AdmmState(magnitudes, counts)
    solve = ops.box_projection if solver == "bisection" else OsqpProjection(sizes, counts)
    rho = Rho(config.fcf_rho_init, config.fcf_rho_max, 1000)
    return admm_step(
        model,
        scope.gates(model),
        state,
        sgd(RESNET_AT_CIFAR10, 0.01),
        cross_entropy,
        DECAY,
        lambda gradient: update(state, gradient, solve, rho(state.steps.value), config.fcf_lrn_rate, config.fcf_alpha),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each")
    parser.add_argument("--steps", type=int, default=10, help="steps per turn")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    kind = precision.resolve("auto", has_gpu=False, has_bfloat16=precision.cpu_has_bfloat16())
    model = precision.to_training(resnet((32, 32, 3), 10, 20), kind)
    contenders = {
        "plain": runner(train_step(model, sgd(RESNET_AT_CIFAR10, 0.01), cross_entropy, DECAY)),
        "bisection": runner(joint(kind, "bisection")),
        "osqp": runner(joint(kind, "osqp")),
    }
    times = take_turns(contenders, args.rounds, args.steps)
    medians = show(times)
    costs = {name: times_as_fast(times["plain"], times[name]) for name in ("bisection", "osqp")}
    for name, cost in costs.items():
        print(f"a step with {name} takes {cost:.3f} times as long as a plain one ({kind})")
    write(args.out, {"milliseconds": medians, "times_as_long": costs, "goal": {"bisection": GOAL}, "precision": kind})


if __name__ == "__main__":
    main()
