"""The gate: two forms of a model must give the same logits on the same pictures."""

from collections.abc import Callable

import numpy as np

from secateur.utils.errors import RunError

# Both are the same float32 sums in another order; a wrong slice or a lost bias is off by more than a hundredth.
SHRUNK_TOLERANCE = 1e-4
# The converter folds norms into kernels and XNNPACK has its own summation order.
TFLITE_TOLERANCE = 1e-3
# On so many pictures two forms are compared.
NB_PICTURES_CHECKED = 256
# And so many go through a network at once: of large pictures all together would take ten gigabytes.
NB_PICTURES_AT_ONCE = 32


class EquivalenceError(RunError):
    """Two forms of a model that ought to be equal are not."""


def in_batches(logits: Callable[[np.ndarray], np.ndarray], pictures: np.ndarray) -> np.ndarray:
    """Logits [N, K] of pictures [N, H, W, C], made batch by batch."""
    starts = range(0, len(pictures), NB_PICTURES_AT_ONCE)
    return np.concatenate([np.asarray(logits(pictures[k : k + NB_PICTURES_AT_ONCE])) for k in starts])


def logits_of(model: Callable, pictures: np.ndarray) -> np.ndarray:
    """Logits [N, K] of a Keras model outside of training."""
    return in_batches(lambda batch: model(batch, training=False), pictures)


def check_same_logits(name: str, expected: Callable, found: Callable, pictures: np.ndarray) -> float:
    """`check_equivalence` of two float32 Keras models that are the same sums in another order."""
    return check_equivalence(name, logits_of(expected, pictures), logits_of(found, pictures), SHRUNK_TOLERANCE)


def check_equivalence(
    name: str,
    expected: np.ndarray,
    found: np.ndarray,
    tolerance: float,
    quantile: float = 1.0,
    among: np.ndarray | None = None,
) -> float:
    """The largest difference between two arrays of logits [N, K], relative to the root mean square of `expected`.

    Args:
        quantile: of the pictures' differences: 1 is the worst picture, 0.5 the median, for forms that saturate on a
            picture outside the range of their calibration.
        among: which pictures are looked at, [N] bool; default: all.

    Raises:
        EquivalenceError: above `tolerance`, not finite, or of another shape.
    """
    if np.shape(expected) != np.shape(found):
        shapes = f"{np.shape(expected)} and {np.shape(found)}"
        raise EquivalenceError(f"{name} differ: logits {shapes}; nothing was exported")
    errors = _errors(expected, found)
    order = np.argsort(np.where(np.isfinite(errors), errors, np.inf))
    order = order if among is None else order[among[order]]
    picture = int(order[round(quantile * (len(order) - 1))])
    error = float(errors[picture])
    if not error <= tolerance:
        raise EquivalenceError(
            f"{name} differ by {error:.2g} of the logits' size on picture {picture}, more than {tolerance:g}: "
            "this is a fault of the program, please report it with the command"
        )
    return error


def share_of_flips(expected: np.ndarray, found: np.ndarray, tolerance: float) -> float:
    """Of the pictures, the share whose logits in two arrays [N, K] differ by more than `tolerance`."""
    return float(np.mean(~(_errors(expected, found) <= tolerance)))


def _errors(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Largest difference of each picture's logits, relative to the root mean square of all that are expected [N]."""
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    scale = max(float(np.sqrt(np.mean(np.square(expected)))), np.finfo(np.float32).tiny)
    return np.max(np.abs(expected - found), axis=-1) / scale
