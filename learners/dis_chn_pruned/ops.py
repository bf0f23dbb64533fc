"""Equations of discrimination-aware channel pruning: tensors in, tensors out.

Reference: Zhuang, Tan, Zhuang, Liu, Guo, Wu, Huang and Zhu, "Discrimination-aware Channel Pruning for Deep Neural
Networks", NeurIPS 2018. Shape letters: N pictures, H, W, K kernel height and width, C channels to choose from,
R input positions of a kernel, F filters.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def reconstruction_loss(features_NxHxWxF: tf.Tensor, reference_NxHxWxF: tf.Tensor) -> tf.Tensor:
    """L_M of equation (3): 1 / (2Q) * sum of squared differences, Q the number of output elements.

    The features are a convolution's output before batch norm, in the network being pruned and in the original one.
    """
    return 0.5 * tf.reduce_mean(tf.math.squared_difference(features_NxHxWxF, reference_NxHxWxF))


def channel_norms(
    gradients_KxKxRxF: Sequence[tf.Tensor], channels_R: Sequence[tf.Tensor], nb_channels: int
) -> tf.Tensor:
    """||G_j||_F of every channel j, [C] float32, jointly over all layers that read the channels.

    Differs from the released code, which sums the norms of the channel's F separate kernels; the paper has the
    Frobenius norm.

    Args:
        gradients_KxKxRxF: one per reader; a dense layer's has the last two axes only.
        channels_R: per reader the channel, 0 to C - 1, of each of the R positions that it reads; -1 for a position
            that belongs to other channels (behind a concatenation).
    """
    norms = tf.zeros([nb_channels])
    for gradient, channels in zip(gradients_KxKxRxF, channels_R, strict=True):
        squares = tf.square(tf.cast(gradient, tf.float32))
        per_position = tf.reduce_sum(squares, axis=(*range(len(squares.shape) - 2), -1))
        norms += tf.math.unsorted_segment_sum(per_position, channels, nb_channels)
    return tf.sqrt(norms)


def masked(kernel_KxKxRxF: tf.Tensor, mask_C: tf.Tensor, channels_R: tf.Tensor) -> tf.Tensor:
    """The kernel with the input slices of the channels whose mask is 0 set to zero; `channels_R` as above."""
    mask_R = tf.where(channels_R < 0, 1.0, tf.gather(tf.cast(mask_C, tf.float32), tf.maximum(channels_R, 0)))
    return kernel_KxKxRxF * tf.cast(mask_R, kernel_KxKxRxF.dtype)[:, None]


def gains_little(before: float, now: float, first: float, eps: float) -> bool:
    """The adaptive stop (DCP-Adapt): whether |L_(t-1) - L_t| / L_0 <= eps; the paper's experiments have eps = 0.001."""
    return abs(before - now) <= eps * abs(first)


def picks(norms_C: np.ndarray, mask_C: np.ndarray, selection: str, nb_picks: int) -> list[int]:
    """The next channels: the unselected ones of largest norm ("add"), or the selected ones of smallest ("remove").

    Ties go to the lower index. A norm that is not finite is never preferred, but as many channels as asked are always
    picked, so a selection ends.
    """
    if selection == "add":
        scores = np.where(np.isfinite(norms_C), -norms_C, 1.0)
        scores = np.where(mask_C > 0, np.inf, scores)
    else:
        scores = np.where(np.isfinite(norms_C), norms_C, np.finfo(np.float32).max)
        scores = np.where(mask_C > 0, scores, np.inf)
    return [int(channel) for channel in np.argsort(scores, kind="stable")[:nb_picks]]


def share_of_round(total: int, nb_rounds: int, index: int) -> int:
    """What of `total` falls to round number `index` (0 …): spread evenly over the rounds, nothing lost."""
    return (index + 1) * total // nb_rounds - index * total // nb_rounds
