"""Small networks, each with one trait that pruning must understand."""

import keras
import numpy as np
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

layers = keras.layers


@keras.saving.register_keras_serializable(package="tests")
class ChannelGain(keras.layers.Layer):
    """A custom layer: a factor for each channel, whose number stands in the configuration."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels

    def build(self, input_shape):
        self.gain = self.add_weight(shape=(self.channels,), initializer="ones", name="gain")

    def call(self, x):
        return x * self.gain

    def get_config(self):
        return super().get_config() | {"channels": self.channels}


def chain() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="a")(inputs)
    x = layers.BatchNormalization(name="a_norm")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(7, 3, padding="same", strides=2, name="b")(x)
    x = layers.LeakyReLU(name="b_relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="logits")(x), name="chain")


def flattened() -> keras.Model:
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(5, 3, activation="elu", name="a")(inputs)
    x = layers.Flatten()(x)
    x = layers.Dense(8, activation="relu", name="hidden")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="flattened")


def depthwise() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="a")(inputs)
    x = layers.BatchNormalization(name="a_norm")(x)
    x = layers.ZeroPadding2D(1)(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, name="depthwise")(x)
    x = layers.BatchNormalization(name="depthwise_norm")(x)
    x = layers.ReLU(max_value=6.0)(x)
    x = layers.Conv2D(5, 1, name="b")(x)
    x = layers.PReLU(shared_axes=[1, 2], name="b_relu")(x)
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="logits")(x), name="depthwise")


def concatenated() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    b = layers.Conv2D(5, 1, name="b")(inputs)
    c = layers.Conv2D(9, 1, name="c")(inputs)
    x = layers.Concatenate()([a, b])
    x = layers.BatchNormalization(name="joint_norm")(x)
    x = layers.Add(name="sum")([x, c])
    x = layers.Conv2D(6, 3, strides=2, name="d")(x)
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Reshape((9, 6))(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(4, name="logits")(x), name="concatenated")


def residual() -> keras.Model:
    """A projection block and an identity block with padded 3x3 convolutions, and a squeeze-and-excite gate."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = layers.BatchNormalization(name="stem_norm")(x)
    for name, width, stride in (("one", 6, 2), ("two", 6, 1)):
        shortcut = x
        if stride == 2:
            shortcut = layers.Conv2D(width, 1, strides=2, name=f"{name}_shortcut")(x)
            shortcut = layers.BatchNormalization(name=f"{name}_shortcut_norm")(shortcut)
        y = layers.Conv2D(5, 3, strides=stride, padding="same", name=f"{name}_conv1")(x)
        y = layers.BatchNormalization(name=f"{name}_conv1_norm")(y)
        y = layers.ReLU(name=f"{name}_relu1")(y)
        y = layers.Conv2D(width, 3, padding="same", name=f"{name}_conv2")(y)
        y = layers.BatchNormalization(name=f"{name}_conv2_norm")(y)
        x = layers.Add(name=f"{name}_add")([shortcut, y])
        x = layers.Activation("relu", name=f"{name}_relu2")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(3, 1, activation="relu", name="squeeze")(gate)
    gate = layers.Conv2D(6, 1, activation="sigmoid", name="excite")(gate)
    x = layers.Multiply(name="gated")([x, gate])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="logits")(x), name="residual")


def shared() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    conv, norm = layers.Conv2D(5, 3, padding="same", name="twice"), layers.BatchNormalization(name="norm")
    x = layers.Conv2D(5, 1, name="a")(inputs)
    x = norm(conv(x))
    x = norm(conv(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="logits")(x), name="shared")


def sequential() -> keras.Model:
    return keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(6, 3, name="a"), layers.Flatten(), layers.Dense(3, name="logits")],
        name="sequential",
    )


def grouped() -> keras.Model:
    """Two groups of channels, then as many groups as channels, then a separable and a transposed convolution."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 1, name="a")(inputs)
    x = layers.Conv2D(6, 3, groups=2, padding="same", name="pairs")(x)
    x = layers.Conv2D(12, 3, groups=6, padding="same", name="single")(x)
    x = layers.SeparableConv2D(5, 3, depth_multiplier=2, name="separable")(x)
    x = layers.Conv2DTranspose(4, 2, strides=2, name="up")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="grouped")


def normalised_in_groups() -> keras.Model:
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, name="a")(inputs)
    x = layers.GroupNormalization(groups=4, name="fours")(x)
    x = layers.Conv2D(6, 1, name="b")(x)
    x = layers.GroupNormalization(groups=-1, name="each")(x)
    x = layers.Rescaling([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], offset=0.5, name="scale")(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="normalised_in_groups")


def one_dimensional() -> keras.Model:
    inputs = keras.Input((12, 3))
    x = layers.Conv1D(6, 3, padding="causal", dilation_rate=2, name="a")(inputs)
    x = layers.DepthwiseConv1D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv1D(5, 3, name="separable")(x)
    x = layers.Conv1DTranspose(4, 2, name="up")(layers.MaxPooling1D()(layers.Cropping1D(1)(x)))
    x = layers.GlobalMaxPooling1D()(layers.UpSampling1D()(x))
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="one_dimensional")


def three_dimensional() -> keras.Model:
    inputs = keras.Input((4, 4, 4, 2))
    x = layers.Conv3D(5, 3, padding="same", name="a")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.AveragePooling3D(2)(layers.SpatialDropout3D(0.2)(x))
    x = layers.Cropping3D(1)(layers.UpSampling3D(2)(layers.Conv3DTranspose(4, 2, name="up")(x)))
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten()(x)), name="three_dimensional")


def written_with_operators() -> keras.Model:
    """`x + y`, activations of keras.ops, and a spatial gate of one channel."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(5, 3, padding="same", name="a")(inputs)
    y = keras.ops.relu(layers.Conv2D(5, 1, name="b")(x) * 0.5)
    gate = layers.Conv2D(1, 1, activation="sigmoid", name="gate")(y)
    x = layers.Conv2D(4, 1, name="c")((x + y) * gate)
    x = layers.GlobalAveragePooling2D()(keras.ops.silu(x))
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="written_with_operators")


def nested() -> keras.Model:
    """A model in a model in a model, one of them called twice, a Sequential, and layers of the same name."""
    inner_in = keras.Input((6, 6, 5))
    deep = keras.Sequential([layers.Conv2D(5, 1, name="conv"), layers.ReLU(name="relu")], name="deep")
    inner_out = layers.Conv2D(5, 3, padding="same", name="conv2")(deep(inner_in))
    inner = keras.Model(inner_in, layers.Add(name="sum")([inner_in, inner_out]), name="inner")
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(5, 1, name="conv")(inputs)
    x = layers.GlobalAveragePooling2D()(inner(inner(x)))
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="nested")


def towers() -> keras.Model:
    """Two models that each hold a model of the same name with a layer of the same name, which also lies outside."""
    inputs = keras.Input((6, 6, 3))
    outputs = []
    for name in ("left", "right"):
        deep = keras.Sequential([layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="relu")], name="deep")
        tower_in = keras.Input((6, 6, 3))
        outputs.append(keras.Model(tower_in, deep(tower_in), name=name)(inputs))
    x = layers.Conv2D(5, 1, name="left_deep_conv")(layers.Concatenate(name="joined")(outputs))
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x)), name="towers")


def normalised_at_the_input() -> keras.Model:
    """`Normalization` with statistics of the pictures, which are no weights that are trained."""
    inputs = keras.Input((6, 6, 3))
    normalise = layers.Normalization(name="normalise")
    normalise.adapt(np.random.default_rng(0).normal(5, 3, (8, 6, 6, 3)))
    x = layers.Conv2D(5, 3, name="a")(normalise(layers.Rescaling(2.0, offset=1.0)(inputs)))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="normalised_at_the_input")


def embedded() -> keras.Model:
    inputs = keras.Input((6,))
    x = layers.Embedding(8, 5, name="table")(keras.ops.absolute(inputs))
    x = layers.GlobalMaxPooling1D()(layers.Conv1D(4, 3, name="a")(x))
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="embedded")


def merged() -> keras.Model:
    """The rarer sums and bounds, and layers that cut, repeat and blend places."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Cropping2D(1)(layers.Conv2D(6, 3, padding="same", name="a")(inputs))
    y = layers.Resizing(6, 6)(layers.Conv2D(6, 3, strides=2, name="b")(inputs))
    x = layers.Average()([x, y])
    y = layers.Minimum()([layers.Conv2D(5, 1, name="c")(x), layers.Conv2D(5, 1, name="d")(x)])
    x = layers.UpSampling2D(2)(layers.Conv2D(5, 2, strides=2, name="e")(x))
    x = CustomScaleLayer(0.3)([layers.Subtract()([x, y]), layers.Conv2D(5, 1, name="f")(y)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="merged")


def several_ends() -> keras.Model:
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(6, 3, name="a")(inputs)
    seen = layers.Conv2D(4, 1, name="b")(x)
    x = layers.Maximum()([layers.Conv2D(7, 1, name="c")(x), layers.Conv2D(7, 1, name="d")(x)])
    x = layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, [x, layers.Dense(2, name="second")(layers.Flatten()(seen))], name="several_ends")


def transformer() -> keras.Model:
    """Attention over patches: the widths inside the two-layer perceptron can go, the stream and the heads stay."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Reshape((16, 8))(layers.Conv2D(8, 2, strides=2, name="patches")(inputs))
    y = layers.LayerNormalization(name="before_attention")(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4, name="attention")(y, y)])
    y = layers.LayerNormalization(name="before_perceptron")(x)
    y = layers.Dense(12, activation="gelu", name="hidden")(y)
    x = layers.Add()([x, layers.Dense(8, name="perceptron")(y)])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name="transformer")


ALL = (
    chain,
    flattened,
    depthwise,
    concatenated,
    residual,
    shared,
    sequential,
    grouped,
    normalised_in_groups,
    one_dimensional,
    three_dimensional,
    written_with_operators,
    nested,
    towers,
    normalised_at_the_input,
    embedded,
    merged,
    several_ends,
    transformer,
)
