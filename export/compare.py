"""Whether two models differ in truth or by chance: a paired test on the same pictures."""

import numpy as np
from scipy.stats import binomtest


def paired(correct_a: np.ndarray, correct_b: np.ndarray) -> dict[str, float]:
    """McNemar's exact test of two models' hits [N] bool on the same pictures.

    Returns:
        "only_a", "only_b": pictures that one model alone gets right; "points": accuracy of b less that of a, in
        percentage points; "p": how likely so uneven a division is if neither model is better.
    """
    only_a = int(np.sum(correct_a & ~correct_b))
    only_b = int(np.sum(correct_b & ~correct_a))
    p = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    points = 100 * (only_b - only_a) / len(correct_a)
    return {"only_a": only_a, "only_b": only_b, "points": float(points), "p": float(p)}
