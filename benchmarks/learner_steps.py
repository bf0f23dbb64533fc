"""What the learners' own training steps cost, against a plain training step.

    .venv/bin/python benchmarks/learner_steps.py --out results/learner_steps.json

ResNet-20 on random 32x32 pictures, batch 128. FCF: weights and scalars of all channel groups, the box projection by
bisection inside the graph and by OSQP in every step; FBS: gates at density 0.5, inside blocks alone too, and of
M-CifarNet; stripe: skeletons of all convolutions. Run it on an idle machine.
"""

import argparse
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from turns import show, take_turns, times_as_fast, write

from secateur.learners.fbs import gated
from secateur.learners.fbs.config import FbsConfig
from secateur.learners.fcf import ops
from secateur.learners.fcf.admm import AdmmState, Rho, admm_step, update
from secateur.learners.fcf.config import FcfConfig
from secateur.learners.fcf.osqp_projection import OsqpProjection
from secateur.learners.fcf.scopes import GroupScope
from secateur.learners.stripe.config import StripeConfig
from secateur.learners.stripe.skeletons import Skeletons
from secateur.learners.stripe.step import stripe_step
from secateur.nets.cifarnet import cifarnet
from secateur.nets.recipes import RESNET_AT_CIFAR10
from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph
from secateur.training import precision
from secateur.training.steps import Step, sgd, train_step
from secateur.training.task import cross_entropy

# A step may take at most so many times as long as a plain one.
GOALS = {"fcf, bisection": 1.15, "fbs": 1.3, "fbs, inside blocks": 1.3, "fbs, M-CifarNet": 1.3}
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


def network() -> keras.Model:
    return resnet((32, 32, 3), 10, 20)


def plain_step(dense: keras.Model, kind: str) -> Step:
    return train_step(precision.to_training(dense, kind), sgd(RESNET_AT_CIFAR10, 0.01), cross_entropy, DECAY)


def fcf_step(kind: str, solver: str) -> Step:
    config, dense = FcfConfig(), network()
    scope, model = GroupScope(ChannelGraph(dense)), precision.to_training(dense, kind)
    magnitudes = scope.magnitudes()
    sizes = {name: len(values) for name, values in magnitudes.items()}
    counts = {name: size * 3 // 4 for name, size in sizes.items()}
    state = AdmmState(list(magnitudes.values()), list(counts.values()))
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


def fbs_step(dense: keras.Model, kind: str, scope: str = "all") -> Step:
    config, training = FbsConfig(), precision.to_training(dense, kind)
    model = gated.gated(training, config.fbs_density, config.fbs_normalize, config.fbs_l1, scope=scope)
    return train_step(model, sgd(RESNET_AT_CIFAR10, 0.01), cross_entropy, DECAY)


def striped_step(kind: str) -> Step:
    config, dense = StripeConfig(), network()
    model = precision.to_training(dense, kind)
    skeletons = Skeletons(ChannelGraph(dense), model, from_norms=True)
    strength = keras.Variable(config.stripe_sr, trainable=False)
    optimizer, trained = sgd(RESNET_AT_CIFAR10, 0.01), model.trainable_variables
    return stripe_step(model, skeletons, trained, optimizer, cross_entropy, DECAY, strength, config.stripe_threshold)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each")
    parser.add_argument("--steps", type=int, default=10, help="steps per turn")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    kind = precision.resolve("auto", has_gpu=False, has_bfloat16=precision.cpu_has_bfloat16())
    contenders = {
        "plain": runner(plain_step(network(), kind)),
        "fcf, bisection": runner(fcf_step(kind, "bisection")),
        "fcf, osqp": runner(fcf_step(kind, "osqp")),
        "fbs": runner(fbs_step(network(), kind)),
        "fbs, inside blocks": runner(fbs_step(network(), kind, "block")),
        "stripe": runner(striped_step(kind)),
        "plain, M-CifarNet": runner(plain_step(cifarnet(), kind)),
        "fbs, M-CifarNet": runner(fbs_step(cifarnet(), kind)),
    }
    times = take_turns(contenders, args.rounds, args.steps)
    medians = show(times)
    plain = {name: "plain, M-CifarNet" if name.endswith("M-CifarNet") else "plain" for name in contenders}
    costs = {name: times_as_fast(times[plain[name]], times[name]) for name in contenders if name != plain[name]}
    for name, cost in costs.items():
        print(f"a step of {name} takes {cost:.3f} times as long as a plain one ({kind})")
    write(args.out, {"milliseconds": medians, "times_as_long": costs, "goals": GOALS, "precision": kind})


if __name__ == "__main__":
    main()
