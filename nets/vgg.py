"""VGG16 with batch norm.

Reference: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015,
configuration D. Differs from the paper: batch norm behind every convolution, in place of its bias; for small pictures
one dense layer behind a global pooling instead of three.
"""

from collections.abc import Sequence

import keras

from secateur.nets.layers import conv_norm, imagenet_normalised, normalised

# Channels of the convolutions, stage by stage; a maximum pooling ends each stage.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16_cifar10(nb_classes: int = 10, image_size: int = 32, stages: Sequence[Sequence[int]] = STAGES) -> keras.Model:
    """13 convolutions and one dense layer: pictures [B, 32, 32, 3], values 0 to 255, to logits [B, nb_classes]."""
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = _features(normalised(inputs), stages)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(nb_classes, name="logits")(x), name="vgg16")


def vgg16_ilsvrc12(
    nb_classes: int = 1000,
    image_size: int = 224,
    stages: Sequence[Sequence[int]] = STAGES,
    nb_hidden: int = 4096,
) -> keras.Model:
    """13 convolutions and three dense layers: pictures [B, 224, 224, 3], values 0 to 255, to logits [B, nb_classes]."""
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Flatten(name="flatten")(_features(imagenet_normalised(inputs), stages))
    for index in (1, 2):
        x = keras.layers.Dense(nb_hidden, activation="relu", name=f"hidden{index}")(x)
        x = keras.layers.Dropout(0.5, name=f"dropout{index}")(x)
    return keras.Model(inputs, keras.layers.Dense(nb_classes, name="logits")(x), name="vgg16")


def _features(x: keras.KerasTensor, stages: Sequence[Sequence[int]]) -> keras.KerasTensor:
    for stage, widths in enumerate(stages, start=1):
        for index, width in enumerate(widths, start=1):
            name = f"stage{stage}_conv{index}"
            x = keras.layers.ReLU(name=f"{name}_relu")(conv_norm(x, width, 3, 1, name))
        x = keras.layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
    return x
