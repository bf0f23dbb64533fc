"""What a channel is worth: arrays in, arrays out. Larger is more important.

A filter matrix [C, D] holds, for each of C channels, all D weights that make it, those of several layers side by side.
"""

import numpy as np


def l1_norms(filters_CxD: np.ndarray) -> np.ndarray:
    """Sum of magnitudes, [C] (Li et al., "Pruning Filters for Efficient ConvNets", 2017)."""
    return np.abs(filters_CxD).sum(axis=1)


def l2_norms(filters_CxD: np.ndarray) -> np.ndarray:
    """Euclidean norm, [C]."""
    return np.sqrt(np.square(filters_CxD).sum(axis=1))


def distances_to_others(filters_CxD: np.ndarray) -> np.ndarray:
    """Sum of Euclidean distances to all other filters, [C]: the least of it lies nearest the geometric median.

    He et al., "Filter Pruning via Geometric Median for Deep Neural Networks Acceleration", 2019.
    """
    squares = np.square(filters_CxD).sum(axis=1)
    squared = squares[:, None] + squares[None, :] - 2 * filters_CxD @ filters_CxD.T
    return np.sqrt(np.maximum(squared, 0)).sum(axis=1)


def first_order_change(weights_CxD: np.ndarray, gradients_CxD: np.ndarray) -> np.ndarray:
    """Sum of weight times gradient, [C]: what the loss loses to first order if these weights become 0."""
    return (weights_CxD * gradients_CxD).sum(axis=1)


def taylor_importance(changes_BxC: np.ndarray) -> np.ndarray:
    """Mean over B batches of the squared change, [C]; squared first, because at a minimum the changes cancel out.

    Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019, eq. 8.
    """
    return np.square(changes_BxC).mean(axis=0)


def normalised(scores_C: np.ndarray) -> np.ndarray:
    """Scores relative to their mean, so that groups of different layers can be ranked together."""
    mean = scores_C.mean()
    return scores_C / mean if mean > 0 else np.ones_like(scores_C)


def best(scores_C: np.ndarray, nb_kept: int) -> list[int]:
    """The channels of the highest scores, ascending; ties go to the lower index, scores that are not finite last."""
    scores = np.where(np.isfinite(scores_C), scores_C, -np.inf)
    return sorted(np.argsort(-scores, kind="stable")[:nb_kept].tolist())
