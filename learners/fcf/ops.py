"""The alternating direction method of multipliers (ADMM) on the scalars of all channel groups at once.

Reference: Li et al., "Compressing Convolutional Neural Networks via Factorized Convolutional Filters", CVPR 2019. The
binary constraint {0, 1}^C is the intersection of a box and a sphere (l_p-box ADMM, p = 2; Wu and Ghanem, 2019), and the
box keeps the count: sum z1 = k.

Scalars of G groups stand in one matrix [G, C], C the widest group's size; a mask [G, C] of ones and zeros marks the
places that exist, and everything else is zero.
"""

import tensorflow as tf

# Halvings of the interval that holds the shift; its width is at most 2 plus the range of the scalars.
NB_BISECTIONS = 40


def box_projection(a_GxC: tf.Tensor, counts_G: tf.Tensor, mask_GxC: tf.Tensor) -> tf.Tensor:
    """The nearest point of {0 <= z <= 1, sum z = count} to each row: z = clip(a - tau, 0, 1), tau by bisection.

    The sum falls monotonically in tau, so halving finds it; OSQP solves the same problem to its own tolerance.
    """
    far = tf.reduce_max(tf.abs(a_GxC), axis=1) + 1.0
    low, high = -far, far
    for _ in range(NB_BISECTIONS):
        tau = (low + high) / 2
        total = tf.reduce_sum(_clipped(a_GxC, tau, mask_GxC), axis=1)
        low, high = tf.where(total > counts_G, tau, low), tf.where(total > counts_G, high, tau)
    return _clipped(a_GxC, (low + high) / 2, mask_GxC)


def _clipped(a_GxC: tf.Tensor, tau_G: tf.Tensor, mask_GxC: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(a_GxC - tau_G[:, None], 0.0, 1.0) * mask_GxC


def sphere_projection(a_GxC: tf.Tensor, mask_GxC: tf.Tensor) -> tf.Tensor:
    """The nearest point of the sphere ||z - 1/2||^2 = C / 4 to each row; it holds all corners of the box."""
    sizes_G = tf.reduce_sum(mask_GxC, axis=1, keepdims=True)
    from_centre = (a_GxC - 0.5) * mask_GxC
    norm = tf.maximum(tf.norm(from_centre, axis=1, keepdims=True), 1e-12)
    return (0.5 + tf.sqrt(sizes_G) / 2 * from_centre / norm) * mask_GxC


def penalty_gradient(
    v_GxC: tf.Tensor, z1_GxC: tf.Tensor, z2_GxC: tf.Tensor, y1_GxC: tf.Tensor, y2_GxC: tf.Tensor, rho: tf.Tensor
) -> tf.Tensor:
    """The gradient in v of y1'(v - z1) + y2'(v - z2) + rho / 2 (||v - z1||^2 + ||v - z2||^2)."""
    return y1_GxC + y2_GxC + rho * (2 * v_GxC - z1_GxC - z2_GxC)


def distance_to_binary(v_GxC: tf.Tensor, mask_GxC: tf.Tensor) -> tf.Tensor:
    """The largest distance of a group's scalars to {0, 1}, [G]."""
    return tf.reduce_max(tf.minimum(tf.abs(v_GxC), tf.abs(1 - v_GxC)) * mask_GxC, axis=1)
