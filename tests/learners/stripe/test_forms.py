import keras
import numpy as np
import pytest

from secateur.export import LiteModel, save_tflite
from secateur.learners.stripe.forms import BOXES, DENSE, FILTERS, STRIPES, forms_of, live_stripes
from secateur.pruning import cost


def convolution(size=8, stride=1, padding="same", density=0.3, bias=True, kernel_size=3, seed=0):
    """A convolution of random dead stripes, one dead filter; and its model."""
    generator = np.random.default_rng(seed)
    inputs = keras.Input((size, size, 5))
    layer = keras.layers.Conv2D(6, kernel_size, stride, padding, use_bias=bias, activation="relu")
    model = keras.Model(inputs, layer(inputs))
    kernel = generator.normal(size=layer.kernel.shape) * (generator.random((*layer.kernel.shape[:2], 1, 6)) < density)
    kernel[..., 2] = 0
    layer.set_weights([kernel, *([generator.normal(size=6)] if bias else [])])
    return layer, model


def rebuilt(layer, size, form):
    inputs = keras.Input((size, size, 5), batch_size=1)
    return keras.Model(inputs, forms_of(layer)[form](inputs))


@pytest.mark.parametrize("form", [DENSE, FILTERS, STRIPES])
@pytest.mark.parametrize(
    ("stride", "padding", "size"), [(1, "same", 8), (2, "same", 8), (2, "same", 7), (2, "valid", 9)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_forms_are_exact_for_strides_paddings_and_sizes(form, stride, padding, size, bias):
    layer, model = convolution(size, stride, padding, bias=bias)
    pictures = np.random.default_rng(1).normal(size=(1, size, size, 5)).astype(np.float32)
    np.testing.assert_allclose(rebuilt(layer, size, form)(pictures), model(pictures), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", ["rows", "columns", "mixed"])
def test_boxes_are_exact_and_smaller(shape, bias):
    layer, model = convolution(density=1.0, bias=bias)
    kernel, *biases = layer.get_weights()
    kernel[:: 2 if shape != "columns" else 9] = 0
    kernel[:, :: 2 if shape == "columns" else 9] = 0
    if shape == "mixed":
        kernel[1, 0, :, 4] = kernel[1, 2, :, 4] = 0
    layer.set_weights([kernel, *biases])
    pictures = np.random.default_rng(1).normal(size=(1, 8, 8, 5)).astype(np.float32)
    found = rebuilt(layer, 8, BOXES)
    np.testing.assert_allclose(found(pictures), model(pictures), atol=1e-5)
    sizes = {x.kernel_size for x in found.layers if isinstance(x, keras.layers.Conv2D)}
    assert (3, 3) not in sizes
    assert (1, 1) in sizes


@pytest.mark.parametrize("bias", [True, False])
def test_one_box_of_all_filters_is_one_smaller_convolution(bias):
    """With the layer's bias and its activation."""
    layer, model = convolution(density=1.0, bias=bias)
    kernel, *biases = layer.get_weights()
    kernel[..., 2] = 1
    kernel[::2] = 0
    layer.set_weights([kernel, *biases])
    pictures = np.random.default_rng(1).normal(size=(1, 8, 8, 5)).astype(np.float32)
    found = rebuilt(layer, 8, BOXES)
    np.testing.assert_allclose(found(pictures), model(pictures), atol=1e-5)
    assert [x.kernel_size for x in found.layers[1:]] == [(1, 3)]


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_boxes_of_every_kernel_size(size):
    """SAME pads even kernels unevenly."""
    for place in range(size):
        layer, model = convolution(density=1.0, kernel_size=size)
        kernel, bias = layer.get_weights()
        dead = np.ones((size, size), bool)
        dead[place, place] = False
        kernel[dead] = 0
        layer.set_weights([kernel, bias])
        if BOXES in forms_of(layer):
            pictures = np.random.default_rng(1).normal(size=(1, 8, 8, 5)).astype(np.float32)
            np.testing.assert_allclose(rebuilt(layer, 8, BOXES)(pictures), model(pictures), atol=1e-5)
        else:
            assert place in (0, size - 1)  # its box is the whole kernel


def test_no_choice_where_nothing_or_everything_is_dead():
    layer, _ = convolution(density=1.0)
    kernel, bias = layer.get_weights()
    kernel[..., 2] = 1
    layer.set_weights([kernel, bias])
    assert set(forms_of(layer)) == {DENSE}
    layer.set_weights([np.zeros_like(kernel), bias])
    assert set(forms_of(layer)) == {DENSE}
    assert not live_stripes(layer.kernel.numpy()).any()


def test_no_stripe_form_for_strides_of_two_sizes():
    layer, _ = convolution(stride=(2, 1))
    assert set(forms_of(layer)) == {DENSE, FILTERS}


@pytest.mark.parametrize("stride", [1, 2])
def test_of_a_1x1_convolution_the_live_filters_remain(stride):
    layer, model = convolution(density=1.0, kernel_size=1, stride=stride)
    assert set(forms_of(layer)) == {DENSE, FILTERS}
    assert live_stripes(layer.kernel.numpy()).sum() == 5
    pictures = np.random.default_rng(1).normal(size=(1, 8, 8, 5)).astype(np.float32)
    found = rebuilt(layer, 8, FILTERS)
    np.testing.assert_allclose(found(pictures), model(pictures), atol=1e-5)
    assert [x.filters for x in found.layers[1:]] == [5, 6]


def test_dead_filters_among_whole_ones_are_left_out():
    """Where the boxes of the live ones are the whole kernel."""
    layer, model = convolution(density=1.0)
    assert set(forms_of(layer)) == {DENSE, FILTERS, STRIPES}
    assert cost.macs(rebuilt(layer, 8, FILTERS)) == 64 * (9 * 5 * 5 + 5 * 6) < cost.macs(model)


@pytest.mark.parametrize("form", [FILTERS, STRIPES, BOXES])
def test_litert_runs_the_forms_whole(tmp_path, form):
    """Every operation is delegated, and the answers are the Keras model's."""
    layer, model = convolution(density=1.0)
    kernel, bias = layer.get_weights()
    kernel[::2] = 0
    layer.set_weights([kernel, bias])
    save_tflite(rebuilt(layer, 8, form), tmp_path / "m.tflite")
    lite = LiteModel(tmp_path / "m.tflite")
    assert lite.delegated_share() == 1.0
    pictures = np.random.default_rng(1).normal(size=(2, 8, 8, 5)).astype(np.float32)
    np.testing.assert_allclose(lite.predict(pictures), model(pictures), atol=1e-4)
