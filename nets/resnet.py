"""Residual networks for small pictures.

Reference: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2016, section 4.2.
Differs from the paper: where a stage changes size the shortcut is a 1x1 projection with batch norm (the paper's
option B) instead of zero-padding (option A), since a projection says which channels it makes.
"""

from collections.abc import Sequence

import keras

from secateur.utils.errors import UsageError

CIFAR_SIZES = (20, 32, 44, 56, 110)


def resnet(
    input_shape: tuple[int, int, int],
    nb_classes: int,
    resnet_size: int,
    widths: Sequence[int] = (16, 32, 64),
) -> keras.Model:
    """ResNet-(6n+2): a 3x3 stem, three stages of n basic blocks (post-activation), pooling and a classifier.

    Args:
        input_shape: (height, width, channels) of the pictures, values 0 to 255.
        nb_classes: number of logits.
        resnet_size: 8, 14, 20, 26, 32, … : 6n + 2.
        widths: channels of the three stages.

    Returns:
        A functional model from pictures [B, H, W, C] to logits [B, nb_classes].

    Raises:
        UsageError: a size that is not 6n + 2.
    """
    nb_blocks, rest = divmod(resnet_size - 2, 6)
    if rest or nb_blocks < 1:
        raise UsageError(f"--resnet_size {resnet_size}: must be 6n + 2 (8, 14, 20, 32, 44, 56, 110, …)")
    inputs = keras.Input(input_shape, name="image")
    # About zero mean and unit variance; the exact statistics do not matter before a batch norm.
    x = keras.layers.Rescaling(1 / 64, offset=-2.0, name="normalise")(inputs)
    x = _conv_norm(x, widths[0], 3, 1, "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    for stage, width in enumerate(widths, start=1):
        for block in range(1, nb_blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _basic_block(x, width, stride, f"stage{stage}_block{block}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = keras.layers.Dense(nb_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=f"resnet{resnet_size}")


def _basic_block(x: keras.KerasTensor, width: int, stride: int, name: str) -> keras.KerasTensor:
    """relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))."""
    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = _conv_norm(x, width, 1, stride, f"{name}_shortcut")
    y = _conv_norm(x, width, 3, stride, f"{name}_conv1")
    y = keras.layers.ReLU(name=f"{name}_relu1")(y)
    y = _conv_norm(y, width, 3, 1, f"{name}_conv2")
    y = keras.layers.Add(name=f"{name}_add")([shortcut, y])
    return keras.layers.ReLU(name=f"{name}_relu2")(y)


def _conv_norm(x: keras.KerasTensor, width: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        width, kernel, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
