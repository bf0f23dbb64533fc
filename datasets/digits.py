"""Scikit-learn's 1,797 handwritten digits: real pictures inside a dependency, nothing to download."""

import numpy as np
from sklearn.datasets import load_digits

from secateur.datasets.arrays import ArrayDataset, Augment

NB_TEST = 360


def load() -> ArrayDataset:
    """8x8 grey pictures of ten digits, brightness stretched from 0..16 to 0..255; 1,437 train, 360 test.

    The file holds the digits writer by writer, so the split is a fixed shuffle.
    """
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[NB_TEST:], order[:NB_TEST]
    return ArrayDataset(
        name="digits",
        labels=[str(k) for k in range(10)],
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        augment=Augment(pad=1),
    )
