import keras
import numpy as np
import pytest

from secateur.learners.fbs import patches


@pytest.fixture(params=["whole", "strips"])
def _strips(request, monkeypatch):
    if request.param == "strips":
        monkeypatch.setattr(patches, "LARGE", 0.0)
        monkeypatch.setattr(patches, "STRIP", 500.0)


@pytest.mark.usefixtures("_strips")
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (1, 3), (4, 2)])
@pytest.mark.parametrize(("stride", "padding"), [(1, "same"), (2, "same"), (1, "valid"), (2, "valid"), (3, "same")])
def test_the_product_is_the_convolution(kernel, stride, padding):
    x = np.random.default_rng(0).normal(size=(1, 9, 8, 3)).astype(np.float32)
    layer = keras.layers.Conv2D(5, kernel, stride, padding, use_bias=False)
    expected = np.asarray(layer(x))
    columns = layer.kernel.numpy().reshape(1, -1, 5)
    found, height, width = patches.product(layer, keras.ops.convert_to_tensor(x), columns)
    assert (1, height, width, 5) == expected.shape
    np.testing.assert_allclose(np.asarray(found).reshape(expected.shape), expected, atol=1e-5)


def test_only_large_patches_are_made_in_strips(monkeypatch):
    seen = []
    monkeypatch.setattr(patches, "_patches", lambda x, kernel, stride, rows, width: seen.append(rows) or x[:, :1, :, :])
    layer, columns = keras.layers.Conv2D(4, 1), np.zeros((1, 3, 4), np.float32)
    patches.product(layer, keras.ops.zeros((1, 8, 8, 3)), columns)
    assert seen == [(0, 8)]
    monkeypatch.setattr(patches, "LARGE", 500.0)
    monkeypatch.setattr(patches, "STRIP", 200.0)
    seen.clear()
    patches.product(layer, keras.ops.zeros((1, 8, 8, 3)), columns)
    assert seen == [(0, 2), (2, 4), (4, 6), (6, 8)]
