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
@pytest.mark.parametrize("size", [(9, 8), (60, 7)])
def test_the_product_is_the_convolution(kernel, stride, padding, size):
    x = np.random.default_rng(0).normal(size=(1, *size, 3)).astype(np.float32)
    layer = keras.layers.Conv2D(5, kernel, stride, padding, use_bias=False)
    expected = np.asarray(layer(x))
    columns = layer.kernel.numpy().reshape(1, -1, 5)
    found, height, width = patches.product(layer, keras.ops.convert_to_tensor(x), columns)
    assert (1, height, width, 5) == expected.shape
    np.testing.assert_allclose(np.asarray(found).reshape(expected.shape), expected, atol=1e-5)


def test_only_large_patches_are_made_in_strips(monkeypatch):
    seen = []
    monkeypatch.setattr(patches, "_by_patches", lambda *args: seen.append(args[3]) or keras.ops.zeros((1, 8, 4)))
    layer, columns = keras.layers.Conv2D(4, 1), np.zeros((1, 3, 4), np.float32)
    patches.product(layer, keras.ops.zeros((1, 8, 8, 3)), columns)
    assert seen == [(0, 8)]
    monkeypatch.setattr(patches, "LARGE", 500.0)
    monkeypatch.setattr(patches, "STRIP", 200.0)
    seen.clear()
    patches.product(layer, keras.ops.zeros((1, 8, 8, 3)), columns)
    assert seen == [(0, 2), (2, 4), (4, 6), (6, 8)]


@pytest.mark.parametrize(
    ("kernel", "stride", "height", "nb_strips", "expected"),
    [(3, 1, 30, 1, 32), (3, 1, 16, 1, 16), (3, 2, 60, 1, 60), (1, 1, 30, 1, 30), (5, 1, 60, 1, 64), (3, 1, 30, 3, 36)],
)
def test_rows_that_are_computed(kernel, stride, height, nb_strips, expected, monkeypatch):
    """Behind a step of 1 on a high picture each row of the kernel sees all rows of the input, in every strip."""
    if nb_strips > 1:
        monkeypatch.setattr(patches, "LARGE", 0.0)
        monkeypatch.setattr(patches, "STRIP", 4 * height * 6 * kernel * 3 / nb_strips)
    layer = keras.layers.Conv2D(4, kernel, stride, "same")
    columns = np.zeros((1, kernel * kernel * 3, 4), np.float32)
    assert patches.nb_rows(layer, height, 6, 3) == expected
    seen = []
    matmul = keras.ops.matmul
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patches.ops, "matmul", lambda a, b: seen.append(a.shape[1]) or matmul(a, b))
        patches.product(layer, keras.ops.zeros((1, height * stride, 6, 3)), columns)
    assert len(seen) == nb_strips
    assert sum(seen) == expected * -(-6 // stride)
