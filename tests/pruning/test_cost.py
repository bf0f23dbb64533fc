import keras
import numpy as np

from secateur.nets.resnet import resnet
from secateur.pruning import cost, shrink
from tests.pruning import networks

layers = keras.layers


def test_layers_by_hand():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(x)
    x = layers.Conv2DTranspose(5, 2, strides=2, name="up")(x)
    x = layers.Conv2D(6, 1, groups=1, name="point")(x)
    x = layers.SeparableConv2D(7, 3, name="separable")(x)
    x = layers.Conv2D(8, 1, groups=1)(x)
    x = layers.Dense(10, name="logits")(layers.GlobalAveragePooling2D()(x))
    found = cost.layer_macs(keras.Model(inputs, x))
    assert found["conv"] == 3 * 3 * 3 * 4 * 16
    assert found["depthwise"] == 3 * 3 * 4 * 2 * 16
    assert found["up"] == 2 * 2 * 8 * 5 * 16
    assert found["point"] == 5 * 6 * 64
    assert found["separable"] == (3 * 3 * 6 + 6 * 7) * 36
    assert found["logits"] == 80


def test_layers_of_one_and_three_dimensions():
    inputs = keras.Input((8, 3))
    x = layers.Conv1D(4, 3, padding="same", name="conv")(inputs)
    x = layers.DepthwiseConv1D(3, padding="same", name="depthwise")(x)
    x = layers.SeparableConv1D(6, 3, padding="same", name="separable")(x)
    found = cost.layer_macs(keras.Model(inputs, layers.Conv1DTranspose(5, 2, strides=2, name="up")(x)))
    assert found == {
        "conv": 3 * 3 * 4 * 8,
        "depthwise": 3 * 4 * 8,
        "separable": (3 * 4 + 4 * 6) * 8,
        "up": 2 * 6 * 5 * 8,
    }
    inputs = keras.Input((4, 4, 4, 3))
    x = layers.Conv3D(5, 3, padding="same", name="conv")(inputs)
    found = cost.layer_macs(keras.Model(inputs, layers.Conv3DTranspose(2, 2, strides=2, name="up")(x)))
    assert found == {"conv": 27 * 3 * 5 * 64, "up": 8 * 5 * 2 * 64}


def test_grouped_convolution():
    inputs = keras.Input((4, 4, 4))
    assert cost.macs(keras.Model(inputs, layers.Conv2D(6, 3, groups=2, padding="same")(inputs))) == 9 * 2 * 6 * 16


def test_shared_layer_counts_twice():
    model = networks.shared()
    assert cost.layer_macs(model)["twice"] == 2 * 9 * 5 * 5 * 64


def test_resnet20():
    model = resnet((32, 32, 3), nb_classes=10, resnet_size=20)
    assert round(cost.macs(model) / 1e6, 1) == 40.8
    assert cost.params(model) == sum(int(np.prod(w.shape)) for w in model.weights)


def test_half_of_the_inner_channels_is_half_of_the_work():
    model = resnet((32, 32, 3), nb_classes=10, resnet_size=20)
    names = [layer.name for layer in model.layers if layer.name.endswith("conv1")]
    shrunk = shrink(model, {name: range(model.get_layer(name).filters // 2) for name in names})
    fixed = sum(macs for name, macs in cost.layer_macs(model).items() if "block" not in name or "shortcut" in name)
    assert cost.macs(shrunk) == (cost.macs(model) - fixed) // 2 + fixed
