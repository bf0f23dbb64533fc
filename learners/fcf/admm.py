"""One step of the joint training of weights and scalars, and the state that it carries."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.fcf import ops
from secateur.pruning.gates import Gate, gated_kernels
from secateur.training import parallel
from secateur.training.distillation import DistillationLoss
from secateur.training.steps import Step, apply_gradients, moving_statistics, train_step

# How far below 1 the scalars of the last channels begin.
START_SPREAD = 1e-3
# (a [G, C], counts [G], mask [G, C]) to z1 [G, C].
BoxProjection = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


class AdmmState:
    """Scalars, their copies, multipliers and the penalty's step of G groups.

    Args:
        magnitudes: of the channels of each group, which say in what order they begin.
        counts: how many of them stay.

    Attributes:
        v, z1, z2, y1, y2: variables [G, C], C the largest size; v begins at 1, the rest at 0. Differs from the paper:
            v begins up to a thousandth below 1, in the order of the magnitudes, because channels that the loss does not
            see (dead ones) would keep equal scalars for ever.
        steps: how many steps were made, which says what rho is.
    """

    def __init__(self, magnitudes: Sequence[np.ndarray], counts: Sequence[int]):
        sizes = [len(values) for values in magnitudes]
        self.mask = np.zeros((len(sizes), max(sizes)), np.float32)
        for row, size in enumerate(sizes):
            self.mask[row, :size] = 1.0
        self.counts = np.array(counts, np.float32)
        start = self.mask.copy()
        for row, values in enumerate(magnitudes):
            start[row, np.argsort(-values, kind="stable")] = 1.0 - START_SPREAD * np.arange(len(values)) / len(values)
        self.v = keras.Variable(start, name="v")
        self.z1, self.z2, self.y1, self.y2 = (
            keras.Variable(np.zeros_like(self.mask), trainable=False, name=name) for name in ("z1", "z2", "y1", "y2")
        )
        self.steps = keras.Variable(0, dtype="int32", trainable=False, name="steps")

    @property
    def variables(self) -> list[keras.Variable]:
        return [self.v, self.z1, self.z2, self.y1, self.y2, self.steps]

    def kept(self) -> list[np.ndarray]:
        """The channels of each group whose scalar is nearer to 1 than to 0, ascending."""
        return [np.flatnonzero((row > 0.5) & (mask > 0)) for row, mask in zip(self.v.numpy(), self.mask, strict=True)]


class Rho:
    """The penalty: from `first` by a constant factor a step up to `last`, which is reached after `nb_steps` steps.

    Differs from the paper: its factor (1.01 a step) is fixed, and runs of a few hundred steps never become binary.
    """

    def __init__(self, first: float, last: float, nb_steps: int):
        self.first, self.last = first, last
        self.growth = np.log(last / first) / max(nb_steps, 1)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return tf.minimum(self.first * tf.exp(self.growth * tf.cast(step, tf.float32)), self.last)


def update(
    state: AdmmState,
    loss_gradient_GxC: tf.Tensor,
    project: BoxProjection,
    rho: tf.Tensor,
    learning_rate: float,
    alpha: float,
) -> None:
    """Steps 2 to 6 of the algorithm: z1, z2, one step of plain gradient descent on v, then the multipliers.

    Plain: with momentum the iteration diverges, and 2 * learning_rate * alpha * rho must stay below 4 / 3.
    """
    v, y1, y2 = (tf.convert_to_tensor(x) for x in (state.v, state.y1, state.y2))
    mask = tf.constant(state.mask)
    z1 = project(v + y1 / rho, tf.constant(state.counts), mask)
    z2 = ops.sphere_projection(v + y2 / rho, mask)
    gradient = alpha * ops.penalty_gradient(v, z1, z2, y1, y2, rho) + (1 - alpha) * loss_gradient_GxC
    v = (v - learning_rate * gradient) * mask
    for variable, value in (
        (state.v, v),
        (state.z1, z1),
        (state.z2, z2),
        (state.y1, y1 + rho * (v - z1)),
        (state.y2, y2 + rho * (v - z2)),
        (state.steps, state.steps + 1),
    ):
        variable.assign(value)


def admm_step(
    model: keras.Model,
    gates: Sequence[Gate],
    state: AdmmState,
    optimizer: keras.optimizers.Optimizer,
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    weight_decay: float,
    update_scalars: Callable[[tf.Tensor], None],
    distillation: DistillationLoss | None = None,
) -> Step:
    """A step on weights and scalars: (images [B, H, W, C], labels [B]) to metrics.

    Args:
        gates: which kernels the scalars are multiplied into.
        update_scalars: takes the gradient [G, C] of the loss in the scalars.
        distillation: what a teacher adds to the loss.
    """
    variables, moving = model.trainable_variables, moving_statistics(model)
    optimizer.build(variables)

    def step_on_both(gradients: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        scale = optimizer.scale_loss(1.0)  # now: the optimizer's step may change it
        *gradients, in_scalars = gradients
        apply_gradients(optimizer, gradients, variables, moving)
        (in_scalars,) = parallel.average([in_scalars / scale])
        # Else float16 overflowed, and the optimizer skips its step too.
        if tf.reduce_all(tf.math.is_finite(in_scalars)):
            update_scalars(in_scalars)
        distance = tf.reduce_max(ops.distance_to_binary(tf.convert_to_tensor(state.v), tf.constant(state.mask)))
        return {"to_binary": distance}

    return train_step(
        model,
        optimizer,
        loss,
        weight_decay,
        distillation,
        replaced=lambda: gated_kernels(model, gates, tf.convert_to_tensor(state.v)),
        trained=[*variables, state.v],
        update=step_on_both,
    )
