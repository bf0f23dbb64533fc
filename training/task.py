"""What is trained: a network, its data and the recipe that suits both."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf


class Dataset(Protocol):
    """What a task needs of its data; `datasets.arrays.ArrayDataset` documents the calls."""

    name: str
    labels: Iterable[str]

    @property
    def nb_train(self) -> int: ...
    @property
    def nb_test(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def identity(self) -> str: ...
    def train_batches(
        self, batch_size: int, seed: int, first_step: int = 0, rank: int = 0, size: int = 1
    ) -> tf.data.Dataset: ...
    def eval_batches(self, batch_size: int, nb_pictures: int | None = None) -> tf.data.Dataset: ...
    def pictures(self, nb_pictures: int, seed: int) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class StepDecay:
    """A learning rate that falls in steps, as the networks of ILSVRC-12 are trained.

    Attributes:
        boundaries, boundaries_ft: shares of training and of fine-tuning, ascending, at which the rate falls.
        factor: what it is multiplied with.
        warm_up: share of training from scratch in which it rises linearly first (Goyal et al., 2017).
    """

    boundaries: tuple[float, ...]
    boundaries_ft: tuple[float, ...] = ()
    factor: float = 0.1
    warm_up: float = 0.05


@dataclasses.dataclass(frozen=True)
class Phase:
    """One training of a network.

    Attributes:
        nb_epochs: its length.
        learning_rate: the peak, for the recipe's `batch_size_norm` pictures a step.
        weight_decay: coupled L2 on convolution and dense kernels: the loss gains weight_decay / 2 * ||W||^2.
        boundaries: shares of the phase at which the rate is multiplied by `factor`; none: one cycle, up and down to 0.
        warm_up: share of the phase in which it rises linearly first.
    """

    nb_epochs: float
    learning_rate: float
    weight_decay: float
    boundaries: tuple[float, ...] = ()
    factor: float = 0.1
    warm_up: float = 0.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the network is trained from scratch and fine-tuned.

    Attributes:
        nb_epochs: of training from scratch.
        learning_rate: its peak, for `batch_size_norm` pictures a step.
        nb_epochs_ft, learning_rate_ft: the same for fine-tuning after pruning.
        batch_size, batch_size_eval: pictures per step of one worker.
        weight_decay: of all training (`Phase.weight_decay`).
        momentum: of stochastic gradient descent, with Nesterov's form.
        dcp_nb_iters_block, dcp_nb_iters_layer: steps of discrimination-aware channel pruning that suit the task.
        step_decay: how the learning rate falls; None: one cycle.
    """

    nb_epochs: float
    learning_rate: float
    nb_epochs_ft: float
    learning_rate_ft: float
    batch_size: int = 128
    batch_size_eval: int = 100
    batch_size_norm: int = 128
    weight_decay: float = 5e-4
    momentum: float = 0.9
    dcp_nb_iters_block: int = 200
    dcp_nb_iters_layer: int = 100
    step_decay: StepDecay | None = None

    @property
    def training(self) -> Phase:
        """From scratch."""
        phase, decay = Phase(self.nb_epochs, self.learning_rate, self.weight_decay), self.step_decay
        return dataclasses.replace(phase, **_steps(decay, decay.boundaries, decay.warm_up)) if decay else phase

    @property
    def fine_tuning(self) -> Phase:
        """After pruning."""
        phase, decay = Phase(self.nb_epochs_ft, self.learning_rate_ft, self.weight_decay), self.step_decay
        return dataclasses.replace(phase, **_steps(decay, decay.boundaries_ft, 0.0)) if decay else phase


def _steps(decay: StepDecay, boundaries: tuple[float, ...], warm_up: float) -> dict:
    return {"boundaries": boundaries, "factor": decay.factor, "warm_up": warm_up}


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy of labels [B] int32 and logits [B, K]."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(logits, tf.float32)))


@dataclasses.dataclass(frozen=True)
class Distillation:
    """A teacher, a `.keras` file, the factor of its loss and the temperature of both softmaxes."""

    teacher: pathlib.Path
    weight: float = 4.0
    temperature: float = 4.0


@dataclasses.dataclass(frozen=True)
class Start:
    """Published weights that stand in for training from scratch.

    Attributes:
        name: of the weights, their checksum for a file; it enters the run's hash.
        load: returns the network with its weights.
        build_model: the same network with random weights.
    """

    name: str
    load: Callable[[], keras.Model]
    build_model: Callable[[], keras.Model]


@dataclasses.dataclass(frozen=True)
class Task:
    """A network on a data set.

    Attributes:
        name: `<network>_at_<data>`, such as "resnet20_at_cifar10".
        build_model: returns a new functional model from pictures (0 to 255) to logits.
        load_data: reads the data set, called once and only when pictures are needed.
        recipe: the training that suits it.
        loss: (labels [B], logits [B, K]) to a scalar.
        start: published weights that the dense model begins with; None: random ones.
        pretrained: the `.keras` file that pruning starts from, of the same network.
        distillation: the teacher whose logits join the loss of all training of whole networks.
    """

    name: str
    build_model: Callable[[], keras.Model]
    load_data: Callable[[], Dataset]
    recipe: Recipe
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = cross_entropy
    start: Start | None = None
    pretrained: pathlib.Path | None = None
    distillation: Distillation | None = None
