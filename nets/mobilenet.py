"""MobileNets.

References: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017;
Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.
"""

from collections.abc import Sequence

import keras

from secateur.nets.layers import conv_norm, depthwise_norm, imagenet_normalised

# (channels, stride) of the separable blocks of version 1.
V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
# (expansion, channels, repeats, stride of the first) of the inverted residuals of version 2.
V2_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v1(
    nb_classes: int = 1000, image_size: int = 224, depth_mult: float = 1.0, blocks: Sequence[tuple] = V1_BLOCKS
) -> keras.Model:
    """Depthwise separable convolutions in a chain: pictures [B, S, S, 3], values 0 to 255, to logits.

    Args:
        depth_mult: factor on all widths.
        blocks: (channels, stride) each.
    """
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = conv_norm(imagenet_normalised(inputs), round_to_eights(32 * depth_mult), 3, 2, "stem", explicit_padding=True)
    x = _relu6(x, "stem")
    for index, (channels, stride) in enumerate(blocks, start=1):
        x = _relu6(depthwise_norm(x, stride, f"block{index}_depthwise"), f"block{index}_depthwise")
        x = _relu6(
            conv_norm(x, round_to_eights(channels * depth_mult), 1, 1, f"block{index}_point"), f"block{index}_point"
        )
    return _with_classifier(inputs, x, nb_classes, "mobilenet_v1")


def mobilenet_v2(
    nb_classes: int = 1000, image_size: int = 224, depth_mult: float = 1.0, blocks: Sequence[tuple] = V2_BLOCKS
) -> keras.Model:
    """Inverted residuals with linear bottlenecks: pictures [B, S, S, 3], values 0 to 255, to logits.

    Args:
        depth_mult: factor on all widths; the last convolution never has fewer than 1,280 channels, as in the paper.
        blocks: (expansion, channels, repeats, stride of the first) each.
    """
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = conv_norm(imagenet_normalised(inputs), round_to_eights(32 * depth_mult), 3, 2, "stem", explicit_padding=True)
    x = _relu6(x, "stem")
    for stage, (expansion, channels, repeats, first) in enumerate(blocks, start=1):
        for index in range(1, repeats + 1):
            stride = first if index == 1 else 1
            width = round_to_eights(channels * depth_mult)
            x = _inverted_residual(x, width, expansion, stride, f"stage{stage}_block{index}")
    x = _relu6(conv_norm(x, round_to_eights(1280 * max(depth_mult, 1.0)), 1, 1, "last"), "last")
    return _with_classifier(inputs, x, nb_classes, "mobilenet_v2")


def round_to_eights(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and never more than a tenth narrower than asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _inverted_residual(x: keras.KerasTensor, width: int, expansion: int, stride: int, name: str) -> keras.KerasTensor:
    y = x
    if expansion > 1:
        y = _relu6(conv_norm(y, expansion * x.shape[-1], 1, 1, f"{name}_expand"), f"{name}_expand")
    y = _relu6(depthwise_norm(y, stride, f"{name}_depthwise"), f"{name}_depthwise")
    y = conv_norm(y, width, 1, 1, f"{name}_project")
    return keras.layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and x.shape[-1] == width else y


def _with_classifier(inputs: keras.KerasTensor, x: keras.KerasTensor, nb_classes: int, name: str) -> keras.Model:
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.2 if name == "mobilenet_v2" else 1e-3, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(nb_classes, name="logits")(x), name=name)


def _relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)
