import numpy as np

from secateur.datasets import digits


def test_split_is_fixed_whole_and_balanced():
    data = digits.load()
    assert (data.nb_train, data.nb_test) == (1437, 360)
    assert data.sha256 == digits.load().sha256
    assert data.train_images.shape == (1437, 8, 8, 1)
    assert (data.train_images.min(), data.train_images.max()) == (0, 255)
    counts = np.bincount(data.test_labels, minlength=10)
    assert counts.min() > 20
    assert not data.augment.flip
