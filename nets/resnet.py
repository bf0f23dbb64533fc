"""Residual networks for small pictures and for ILSVRC-12.

Reference: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2016, sections 4.1 and 4.2.
Differs from the paper: where a stage changes size the shortcut is a 1x1 projection with batch norm (the paper's
option B) also for small pictures, where the paper pads with zeros (option A), since a projection says which channels it
makes; a bottleneck that halves the size does so in its 3x3 convolution, as published weights of later years have it.
"""

from collections.abc import Sequence

import keras

from secateur.nets.layers import conv_norm, imagenet_normalised, normalised
from secateur.utils.errors import UsageError

CIFAR_SIZES = (20, 32, 44, 56, 110)
# Blocks of each of the four stages.
ILSVRC12_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


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
    x = conv_norm(normalised(inputs), widths[0], 3, 1, "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    for stage, width in enumerate(widths, start=1):
        for block in range(1, nb_blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _basic_block(x, width, stride, f"stage{stage}_block{block}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = keras.layers.Dense(nb_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=f"resnet{resnet_size}")


def resnet_ilsvrc12(
    resnet_size: int,
    nb_classes: int = 1000,
    image_size: int = 224,
    widths: Sequence[int] = (64, 128, 256, 512),
    nb_blocks: Sequence[int] | None = None,
) -> keras.Model:
    """ResNet-18/34 of basic blocks or ResNet-50/101/152/200 of bottlenecks, for large pictures.

    Args:
        resnet_size: 18, 34, 50, 101, 152 or 200.
        widths: of the four stages; a bottleneck's block is four times as wide outside.
        nb_blocks: of the four stages; default: those of the size.

    Returns:
        A functional model from pictures [B, S, S, 3], values 0 to 255, to logits [B, nb_classes].

    Raises:
        UsageError: another size.
    """
    if resnet_size not in ILSVRC12_BLOCKS:
        sizes = ", ".join(map(str, ILSVRC12_BLOCKS))
        raise UsageError(f"--resnet_size {resnet_size}: must be one of {sizes}")
    block = _basic_block if resnet_size < 50 else _bottleneck
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = conv_norm(imagenet_normalised(inputs), widths[0], 7, 2, "stem", explicit_padding=True)
    x = keras.layers.ReLU(name="stem_relu")(x)
    # Behind a ReLU a border of zeros never wins a maximum.
    x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    for stage, (width, count) in enumerate(
        zip(widths, nb_blocks or ILSVRC12_BLOCKS[resnet_size], strict=True), start=1
    ):
        for index in range(1, count + 1):
            stride = 2 if stage > 1 and index == 1 else 1
            x = block(x, width, stride, f"stage{stage}_block{index}", explicit_padding=True)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = keras.layers.Dense(nb_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=f"resnet{resnet_size}")


def _basic_block(
    x: keras.KerasTensor, width: int, stride: int, name: str, explicit_padding: bool = False
) -> keras.KerasTensor:
    """relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))."""
    shortcut = _shortcut(x, width, stride, name)
    y = conv_norm(x, width, 3, stride, f"{name}_conv1", explicit_padding)
    y = keras.layers.ReLU(name=f"{name}_relu1")(y)
    y = conv_norm(y, width, 3, 1, f"{name}_conv2", explicit_padding)
    y = keras.layers.Add(name=f"{name}_add")([shortcut, y])
    return keras.layers.ReLU(name=f"{name}_relu2")(y)


def _bottleneck(
    x: keras.KerasTensor, width: int, stride: int, name: str, explicit_padding: bool = False
) -> keras.KerasTensor:
    """1x1 to `width`, 3x3, 1x1 to four times `width`, added to the shortcut."""
    shortcut = _shortcut(x, 4 * width, stride, name)
    y = conv_norm(x, width, 1, 1, f"{name}_conv1")
    y = keras.layers.ReLU(name=f"{name}_relu1")(y)
    y = conv_norm(y, width, 3, stride, f"{name}_conv2", explicit_padding)
    y = keras.layers.ReLU(name=f"{name}_relu2")(y)
    y = conv_norm(y, 4 * width, 1, 1, f"{name}_conv3")
    y = keras.layers.Add(name=f"{name}_add")([shortcut, y])
    return keras.layers.ReLU(name=f"{name}_relu3")(y)


def _shortcut(x: keras.KerasTensor, width: int, stride: int, name: str) -> keras.KerasTensor:
    """The input itself, or a projection where the size or the width changes."""
    if stride == 1 and x.shape[-1] == width:
        return x
    return conv_norm(x, width, 1, stride, f"{name}_shortcut")
