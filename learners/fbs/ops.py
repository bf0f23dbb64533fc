"""Feature boosting and suppression: saliencies, winners and gates. Tensors in, tensors out.

Reference: Gao et al., "Dynamic Channel Pruning: Feature Boosting and Suppression", ICLR 2019.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

EPSILON = 1e-6


def subsample(x_NxHxWxC: tf.Tensor) -> tf.Tensor:
    """Mean magnitude of each channel, [N, C] float32 (eq. 5: the L1 norm over the number of places)."""
    return tf.reduce_mean(tf.abs(tf.cast(x_NxHxWxC, tf.float32)), axis=(1, 2))


def tapped(x_NxHxWxC: tf.Tensor, nonnegative: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """The tensor itself for whatever else reads it, and what `subsample` makes of it, in few passes over the tensor.

    Both gradients meet in one pass, all is done in the type of x, and what rounding leaves of a row's mean evens out
    over the rows.

    Args:
        nonnegative: x comes from a ReLU, which keeps from the gradient what is 0. Sizes and signs are not taken then.
    """

    @tf.custom_gradient
    def both(x: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable]:
        rows = tf.reduce_mean(x if nonnegative else tf.abs(x), axis=2)
        means = tf.reduce_mean(tf.cast(rows, tf.float32), axis=1)

        def gradient(upstream_x: tf.Tensor, upstream_means: tf.Tensor) -> tf.Tensor:
            nb_places = tf.cast(tf.size(x) // tf.size(means), means.dtype)
            each = tf.cast(upstream_means / nb_places, x.dtype)[:, None, None, :]
            return upstream_x + (each if nonnegative else tf.sign(x) * each)

        return (tf.identity(x), means), gradient

    return both(x_NxHxWxC)


def nb_winners(density: float, nb_channels: int) -> int:
    """How many channels fire: density times their number, rounded up, at least one."""
    return max(1, math.ceil(density * nb_channels - 1e-6))


def winners(saliency_NxC: tf.Tensor, nb_kept: tf.Tensor) -> tf.Tensor:
    """1 for the k largest saliencies of each picture, of equal ones those of lower index, [N, C]; 0 for the others.

    Only positive saliencies fire, so fewer than k channels may.
    """
    ordered = tf.sort(saliency_NxC, axis=1, direction="DESCENDING")
    kth = tf.gather(ordered, nb_kept - 1, axis=1)[:, None]
    above = saliency_NxC > kth
    equal = tf.cast(tf.equal(saliency_NxC, kth), tf.int32)
    room = nb_kept - tf.reduce_sum(tf.cast(above, tf.int32), axis=1, keepdims=True)
    within = (tf.cumsum(equal, axis=1) <= room) & (equal > 0)
    return tf.cast((above | within) & (saliency_NxC > 0), saliency_NxC.dtype)


def margin(saliency_NxC: tf.Tensor, size_NxC: tf.Tensor, nb_kept: int) -> tf.Tensor:
    """How far the last winner of each picture is from the first loser, [N]; infinite where there is nothing to choose.

    Args:
        size_NxC: sums of the magnitudes of what the saliencies are sums of. Rounding errors are in proportion to them.
    """
    if nb_kept == saliency_NxC.shape[1]:
        return tf.fill([tf.shape(saliency_NxC)[0]], np.inf)
    values, channels = tf.math.top_k(saliency_NxC, nb_kept + 1)
    last, first = values[:, -2], values[:, -1]
    sizes = tf.gather(size_NxC, channels[:, -2:], batch_dims=1)
    return tf.where(last > 0, (last - first) / tf.reduce_max(sizes, axis=1), np.inf)


def imbalance(pi_NxC: tf.Tensor) -> tf.Tensor:
    """How unevenly the channels win over a batch: variance of their sums over the squared mean; 0 where all win alike.

    The released code's `moe`, after Shazeer et al., 2017.
    """
    sums = tf.reduce_sum(pi_NxC, axis=0)
    return tf.math.reduce_variance(sums) / (tf.reduce_mean(sums) + 1e-3) ** 2


def gates(saliency_NxC: tf.Tensor, nb_kept: tf.Tensor, normalize: bool) -> tf.Tensor:
    """pi [N, C]: the saliencies of the winners (eq. 4); no gradient flows through the choice.

    Args:
        normalize: divide pi by its mean over all channels, which keeps deep networks finite where saliencies grow from
            layer to layer. Differs from the paper, which does not.
    """
    pi = saliency_NxC * tf.stop_gradient(winners(saliency_NxC, nb_kept))
    return pi / (tf.reduce_mean(pi, axis=1, keepdims=True) + EPSILON) if normalize else pi
