"""Learning-rate schedules as functions of the step, so that a resumed run continues exactly."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from secateur.training.task import Phase

# Share of a phase that has none of its own, where the rate was scaled up.
WARM_UP = 0.05


@keras.saving.register_keras_serializable(package="secateur")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from `start` times the peak up to the peak, then linear down to zero.

    Reference: Smith and Topin, "Super-Convergence", 2018, with a last phase that ends at zero.

    Args:
        peak: highest learning rate.
        nb_steps: steps of the whole cycle.
        warm_up: share of the steps before the peak, 0 to 1.
        start: first learning rate as a share of the peak.
    """

    def __init__(self, peak: float, nb_steps: int, warm_up: float = 0.2, start: float = 0.1):
        super().__init__()
        self.peak, self.nb_steps, self.warm_up, self.start = peak, nb_steps, warm_up, start

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        top = max(self.warm_up * self.nb_steps, 1e-6)
        rising = self.start + (1 - self.start) * step / top
        falling = (self.nb_steps - step) / max(self.nb_steps - top, 1.0)
        return self.peak * tf.maximum(tf.minimum(rising, falling), 0.0)

    def get_config(self) -> dict:
        return {"peak": self.peak, "nb_steps": self.nb_steps, "warm_up": self.warm_up, "start": self.start}


@keras.saving.register_keras_serializable(package="secateur")
class Piecewise(keras.optimizers.schedules.LearningRateSchedule):
    """`initial` times `factors[k]`, where k counts the boundaries that the step has reached.

    Args:
        initial: learning rate of the first phase.
        boundaries: ascending steps at which the next factor begins.
        factors: one more than boundaries, the first usually 1.
        warm_up: steps in which the rate rises linearly to its value.
    """

    def __init__(self, initial: float, boundaries: Sequence[int], factors: Sequence[float], warm_up: int = 0):
        super().__init__()
        if len(factors) != len(boundaries) + 1:
            raise ValueError(f"{len(factors)} factors for {len(boundaries)} boundaries: must be one more")
        self.initial, self.boundaries, self.factors = initial, list(boundaries), list(factors)
        self.warm_up = warm_up

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        reached = tf.reduce_sum(tf.cast(tf.cast(step, tf.int64) >= tf.constant(self.boundaries, tf.int64), tf.int32))
        rising = tf.minimum((tf.cast(step, tf.float32) + 1) / max(self.warm_up, 1), 1.0)
        return self.initial * rising * tf.gather(tf.constant(self.factors, tf.float32), reached)

    def get_config(self) -> dict:
        shape = {"boundaries": self.boundaries, "factors": self.factors, "warm_up": self.warm_up}
        return {"initial": self.initial, **shape}


def schedule_of(phase: Phase, peak: float, nb_steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The phase's learning rate over `nb_steps` steps, `peak` at its highest.

    A peak above the phase's own, scaled up for several workers, is reached by a warm-up (Goyal et al., 2017).
    """
    if not phase.boundaries:
        return OneCycle(peak, max(nb_steps, 1))
    factors = [phase.factor**k for k in range(len(phase.boundaries) + 1)]
    boundaries = [round(share * nb_steps) for share in phase.boundaries]
    warm_up = phase.warm_up or (WARM_UP if peak > phase.learning_rate else 0.0)
    return Piecewise(peak, boundaries, factors, round(warm_up * nb_steps))


def scaled_learning_rate(learning_rate: float, global_batch_size: int, batch_size_norm: int) -> float:
    """The linear scaling rule: `learning_rate` is meant for `batch_size_norm` pictures a step.

    Reference: Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    return learning_rate * global_batch_size / batch_size_norm


def nb_steps_of(nb_epochs: float, nb_train: int, global_batch_size: int) -> int:
    """Whole steps in `nb_epochs` epochs whose left-over pictures are dropped; at least one unless 0 epochs."""
    if nb_epochs <= 0:
        return 0
    return max(1, math.ceil(nb_epochs * (nb_train // global_batch_size)))
