"""What the networks share: normalised input, a convolution with batch norm, explicit padding."""

import keras

# Per-channel mean and standard deviation of ILSVRC-12's training pictures, values 0 to 255.
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def normalised(x: keras.KerasTensor) -> keras.KerasTensor:
    """About zero mean and unit variance; the exact statistics do not matter before a batch norm."""
    return keras.layers.Rescaling(1 / 64, offset=-2.0, name="normalise")(x)


def imagenet_normalised(x: keras.KerasTensor) -> keras.KerasTensor:
    """(x - mean) / std with ILSVRC-12's statistics, as published weights expect it."""
    scale = [1 / std for std in IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    return keras.layers.Rescaling(scale, offset=offset, name="normalise")(x)


def conv_norm(
    x: keras.KerasTensor, width: int, kernel: int, stride: int, name: str, explicit_padding: bool = False
) -> keras.KerasTensor:
    """A convolution without bias and a batch norm.

    Args:
        explicit_padding: pad (kernel - 1) / 2 on every side also where the stride is 2, as PyTorch does; "same" pads
            one side only, and weights trained the other way would be shifted by a pixel.
    """
    padding = "same"
    if explicit_padding and stride > 1 and kernel > 1:
        x, padding = keras.layers.ZeroPadding2D((kernel - 1) // 2, name=f"{name}_pad")(x), "valid"
    x = keras.layers.Conv2D(
        width, kernel, stride, padding=padding, use_bias=False, kernel_initializer="he_normal", name=name
    )(x)
    return norm(x, name)


def depthwise_norm(x: keras.KerasTensor, stride: int, name: str) -> keras.KerasTensor:
    """A 3x3 depthwise convolution without bias, explicitly padded, and a batch norm."""
    padding = "same"
    if stride > 1:
        x, padding = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x), "valid"
    x = keras.layers.DepthwiseConv2D(
        3, stride, padding=padding, use_bias=False, depthwise_initializer="he_normal", name=name
    )(x)
    return norm(x, name)


def norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
