"""Shrinking with proof."""

import keras
import numpy as np

from secateur.export.equivalence import check_same_logits
from secateur.pruning import Keep, mask, shrink


def shrink_checked(model: keras.Model, keep: Keep, pictures: np.ndarray, name: str) -> tuple[keras.Model, float]:
    """The smaller model, and how far its logits are from the masked model's on the pictures [N, H, W, C].

    Args:
        model: float32.
        name: of the place in the run, for the error.

    Raises:
        EquivalenceError: they differ; that is a fault of the program.
    """
    shrunk = shrink(model, keep)
    return shrunk, check_same_logits(f"masked and shrunk model {name}", mask(model, keep), shrunk, pictures)
