import keras
import pytest

from secateur.learners.fbs import structure
from secateur.nets.resnet import resnet
from secateur.pruning.calls import record

layers = keras.layers


def network(convolution, norm=None, more=lambda x, made: x):
    """A convolution and its norm, and what else reads the convolution."""
    inputs = keras.Input((8, 8, 4))
    made = convolution(inputs)
    x = (norm or layers.BatchNormalization(name="norm"))(made)
    return keras.Model(inputs, more(x, made))


def convolution(**settings):
    return layers.Conv2D(4, 3, padding="same", name="conv", **settings)


def shared():
    inputs = keras.Input((8, 8, 4))
    one = convolution()
    x = layers.BatchNormalization()(one(inputs))
    return keras.Model(inputs, layers.BatchNormalization()(one(x)))


def is_output():
    inputs = keras.Input((8, 8, 4))
    made = convolution()(inputs)
    return keras.Model(inputs, [layers.BatchNormalization()(made), made])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("center", [False, True])
def test_a_bias_may_be_and_scale_and_centre_may_be_missing(bias, scale, center):
    norm = layers.BatchNormalization(scale=scale, center=center, name="norm")
    assert structure.units(network(convolution(use_bias=bias), norm)) == {"conv": "norm"}


@pytest.mark.parametrize(
    "model",
    [
        lambda: network(convolution(dilation_rate=2)),
        lambda: network(convolution(activation="relu")),
        lambda: network(convolution(strides=(2, 1))),
        lambda: network(convolution(groups=2)),
        lambda: network(convolution(), layers.BatchNormalization(axis=1)),
        lambda: network(convolution(), layers.LayerNormalization()),
        lambda: network(convolution(), more=lambda x, made: layers.Add()([layers.ReLU()(x), made])),
        lambda: network(convolution(), more=lambda x, made: layers.Add()([x, layers.BatchNormalization()(made)])),
        shared,
        is_output,
    ],
    ids=["dilation", "activation", "strides", "groups", "axis", "layer norm", "add", "two norms", "shared", "output"],
)
def test_what_cannot_be_gated(model):
    assert structure.units(model()) == {}


@pytest.mark.parametrize(
    ("layer", "passes"),
    [
        (layers.ReLU(), True),
        (layers.Activation("tanh"), True),
        (layers.MaxPooling2D(), True),
        (layers.Dropout(0.5), True),
        (layers.Activation("sigmoid"), False),
        (layers.Activation("softplus"), False),
        (layers.Activation("hard_sigmoid"), False),
        (keras.ops.sigmoid, False),
        (keras.ops.relu, True),
        (layers.GlobalAveragePooling2D(), False),
        (layers.BatchNormalization(), False),
        (layers.ZeroPadding2D(), False),
    ],
)
def test_what_may_see_the_winners_only(layer, passes):
    inputs = keras.Input((8, 8, 4))
    (call,) = record(keras.Model(inputs, layer(inputs))).calls
    assert structure.keeps_compact(call) is passes


def test_inside_a_block_is_what_no_addition_mixes():
    model = resnet((8, 8, 1), 3, 8, (4, 6, 8))
    everywhere, inside = structure.units(model), structure.units(model, "block")
    assert list(inside) == [f"stage{k}_block1_conv1" for k in (1, 2, 3)]
    assert inside.items() < everywhere.items()
    assert {"stem", "stage1_block1_conv2", "stage2_block1_shortcut"} <= everywhere.keys() - inside.keys()


def test_zeros_stay_zeros_but_for_an_offset():
    inputs = keras.Input((8, 8, 4))
    x = layers.DepthwiseConv2D(3, use_bias=False, name="without")(inputs)
    model = keras.Model(inputs, layers.DepthwiseConv2D(3, bias_initializer="ones", name="with")(x))
    found = {call.layer.name: structure.keeps_zero(call) for call in record(model).calls}
    assert found == {"without": True, "with": False}


def test_which_layers_read_what_relus_have_made():
    """Through additions, pooling and dropout, and not behind what makes something negative of it again."""

    def conv(name, x):
        return layers.Conv2D(4, 3, padding="same", name=name)(x)

    inputs = keras.Input((8, 8, 4))
    x = layers.ReLU(6.0)(conv("of_the_picture", inputs))
    y = layers.Activation("relu")(conv("behind_a_relu", layers.MaxPooling2D(padding="same", strides=1)(x)))
    z = layers.Dropout(0.5)(layers.Add()([x, y]))
    leaky = layers.ReLU(negative_slope=0.1)(conv("behind_both", z))
    mixed = layers.Add()([x, conv("behind_a_leaky_one", leaky)])
    outputs = conv("behind_a_tanh", layers.Activation("tanh")(conv("behind_a_mixture", mixed)))
    found = structure.reads_nonnegative(keras.Model(inputs, outputs))
    assert {name for name in found if name.startswith(("of", "behind"))} == {"behind_a_relu", "behind_both"}
