"""Which convolutions can be gated, and what their norms make of them."""

import keras
import tensorflow as tf


def plain(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a convolution that is just its kernel, and maybe a bias, in TensorFlow's own layout."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.groups == 1
        and layer.dilation_rate == (1, 1)
        and layer.strides[0] == layer.strides[1]
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
    )


def as_factors(convolution: keras.layers.Conv2D, norm: keras.layers.BatchNormalization) -> tuple[tf.Tensor, tf.Tensor]:
    """What norm and bias outside of training make of the kernel's outputs: factors and addends, two [C] float32."""
    mean, variance = (tf.cast(tf.convert_to_tensor(v), tf.float32) for v in (norm.moving_mean, norm.moving_variance))
    scale = tf.math.rsqrt(variance + norm.epsilon)
    scale = scale * tf.cast(tf.convert_to_tensor(norm.gamma), tf.float32) if norm.scale else scale
    if convolution.use_bias:
        mean = mean - tf.cast(tf.convert_to_tensor(convolution.bias), tf.float32)
    offset = -mean * scale
    return scale, offset + tf.cast(tf.convert_to_tensor(norm.beta), tf.float32) if norm.center else offset
