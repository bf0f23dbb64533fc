"""M-CifarNet: the eight-layer network of the feature boosting and suppression paper (Gao et al., 2019)."""

from collections.abc import Sequence

import keras

from secateur.nets.layers import norm, normalised

# (channels, stride) of the eight convolutions; the first one is not padded.
LAYERS = ((64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (192, 2), (192, 1), (192, 1))
# Behind these, counted from 1, half of the channels drop out in training.
DROPOUTS = (3, 6)


def cifarnet(nb_classes: int = 10, image_size: int = 32, layers: Sequence[tuple[int, int]] = LAYERS) -> keras.Model:
    """Pictures [B, 32, 32, 3], values 0 to 255, to logits [B, nb_classes]; 174.3 million MACs."""
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = normalised(inputs)
    for index, (width, stride) in enumerate(layers, start=1):
        padding = "valid" if index == 1 else "same"
        x = keras.layers.Conv2D(
            width, 3, stride, padding=padding, use_bias=False, kernel_initializer="he_normal", name=f"conv{index}"
        )(x)
        x = keras.layers.ReLU(name=f"conv{index}_relu")(norm(x, f"conv{index}"))
        if index in DROPOUTS:
            x = keras.layers.Dropout(0.5, name=f"conv{index}_dropout")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(nb_classes, name="logits")(x), name="cifarnet")
