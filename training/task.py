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
    def train_batches(
        self, batch_size: int, seed: int, first_step: int = 0, rank: int = 0, size: int = 1
    ) -> tf.data.Dataset: ...
    def eval_batches(self, batch_size: int, nb_pictures: int | None = None) -> tf.data.Dataset: ...
    def pictures(self, nb_pictures: int, seed: int) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the network is trained from scratch and fine-tuned.

    Attributes:
        nb_epochs: of training from scratch.
        learning_rate: its peak, for `batch_size_norm` pictures a step.
        nb_epochs_ft, learning_rate_ft: the same for fine-tuning after pruning.
        batch_size, batch_size_eval: pictures per step of one worker.
        weight_decay: coupled L2 on convolution and dense kernels: the loss gains weight_decay / 2 * ||W||^2.
        momentum: of stochastic gradient descent, with Nesterov's form.
        dcp_nb_iters_block, dcp_nb_iters_layer: steps of discrimination-aware channel pruning that suit the task.
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
    dcp_nb_iters_block: int = 10_000
    dcp_nb_iters_layer: int = 500


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
class Task:
    """A network on a data set.

    Attributes:
        name: `<network>_at_<data>`, such as "resnet20_at_cifar10".
        build_model: returns a new functional model from pictures (0 to 255) to logits.
        load_data: reads the data set, called once and only when pictures are needed.
        recipe: the training that suits it.
        loss: (labels [B], logits [B, K]) to a scalar.
        pretrained: the `.keras` file that pruning starts from, of the same network.
        distillation: the teacher whose logits join the loss of all training of whole networks.
    """

    name: str
    build_model: Callable[[], keras.Model]
    load_data: Callable[[], Dataset]
    recipe: Recipe
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = cross_entropy
    pretrained: pathlib.Path | None = None
    distillation: Distillation | None = None
