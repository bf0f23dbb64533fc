"""The networks of `keras.applications` with their weights trained on ILSVRC-12, in the form of this package's tasks."""

import functools
import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from secateur.nets import timm
from secateur.pruning.calls import functional
from secateur.training.task import Start
from secateur.utils.errors import RunError, UsageError

# Per-channel mean of "caffe" preprocessing, in the order red, green, blue.
CAFFE_MEAN = (123.68, 116.779, 103.939)


def application(
    build: Callable[..., keras.Model], preprocessing: str, weights: str | None = "imagenet", **config: Any
) -> keras.Model:
    """A network from pictures [B, 224, 224, 3], RGB, 0 to 255, to logits [B, 1000].

    Args:
        build: such as `keras.applications.ResNet50`.
        preprocessing: what it expects: "tf" (-1 to 1) or "caffe" (blue first, mean removed); it becomes part of the
            network: a first rescaling, and for "caffe" the first kernel reads its channels in the other order.
        weights: "imagenet", a file, or None for random ones.

    Raises:
        RunError: the weights cannot be downloaded.
    """
    try:
        core = build(weights=weights, classifier_activation=None, input_shape=(224, 224, 3), **config)
    except Exception as error:  # whatever the download raises
        raise RunError(
            f"--pretrained imagenet: {build.__name__}'s weights cannot be had ({error}). They are downloaded once into "
            f"~/.keras/models; without a network name a .safetensors file, or a .keras file with --save_path"
        ) from error
    inputs = keras.Input((224, 224, 3), name="image")
    if preprocessing == "tf":
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(inputs)
    else:
        x = keras.layers.Rescaling(1.0, offset=[-mean for mean in CAFFE_MEAN], name="normalise")(inputs)
        first = next(layer for layer in core.layers if isinstance(layer, keras.layers.Conv2D))
        first.kernel.assign(np.flip(first.kernel.numpy(), axis=2))
    return functional(keras.Model(inputs, core(x), name=core.name))


RESNETS = {
    50: functools.partial(application, keras.applications.ResNet50, "caffe"),
    101: functools.partial(application, keras.applications.ResNet101, "caffe"),
    152: functools.partial(application, keras.applications.ResNet152, "caffe"),
}
MOBILENETS = {
    1: functools.partial(application, keras.applications.MobileNet, "tf"),
    2: functools.partial(application, keras.applications.MobileNetV2, "tf"),
}
VGG16 = functools.partial(application, keras.applications.VGG16, "caffe")


def start(pretrained: str, network: str, build: Callable[[], keras.Model], theirs: Callable | None) -> Start:
    """Where `--pretrained` starts from.

    Args:
        pretrained: "imagenet", or a `.safetensors` file in timm's naming for the network of this package.
        network: its name, for messages.
        build: makes this package's network.
        theirs: (weights) to the one of `keras.applications`, where there is one.

    Raises:
        UsageError: another value, or no such network in `keras.applications`.
    """
    if pretrained == "imagenet":
        if theirs is None:
            raise UsageError(f"--pretrained imagenet: keras.applications has no {network}; name a .safetensors file")
        return Start("keras.applications", lambda: theirs("imagenet"), lambda: theirs(None))
    path = pathlib.Path(pretrained)
    if path.suffix != ".safetensors":
        raise UsageError(
            f"--pretrained {pretrained}: must be imagenet or a .safetensors file (pickled .pth files can run any code; "
            "safetensors.torch.save_file converts one)"
        )
    if not path.is_file():
        raise UsageError(f"--pretrained {pretrained}: no such file")

    def load() -> keras.Model:
        model = build()
        timm.load_weights(model, path)
        return model

    return Start(hashlib.sha256(path.read_bytes()).hexdigest(), load, build)
