"""Published weights of ResNets and MobileNet-v2: `.safetensors` files in timm's naming.

Reference: Wightman, "PyTorch Image Models" (timm), whose networks these names and layouts are.
"""

import pathlib
import re
from collections.abc import Callable, Iterator

import keras
import numpy as np
import safetensors
from safetensors.numpy import load_file

from secateur.utils.errors import RunError

# By a layer's name: (pattern, name of the convolution or dense layer, name of its batch norm). {0} is the stage counted
# from 0, {1} from 1, {2} the block counted from 0, {3} the convolution in its block.
RESNET = (
    (r"stem", "conv1", "bn1"),
    (r"stage(\d+)_block(\d+)_conv(\d)", "layer{1}.{2}.conv{3}", "layer{1}.{2}.bn{3}"),
    (r"stage(\d+)_block(\d+)_shortcut", "layer{1}.{2}.downsample.0", "layer{1}.{2}.downsample.1"),
    (r"logits", "fc", ""),
)
MOBILENET_V2 = (
    (r"stem", "conv_stem", "bn1"),
    (r"stage(1)_block(\d+)_depthwise", "blocks.{0}.{2}.conv_dw", "blocks.{0}.{2}.bn1"),
    (r"stage(1)_block(\d+)_project", "blocks.{0}.{2}.conv_pw", "blocks.{0}.{2}.bn2"),
    (r"stage(\d+)_block(\d+)_expand", "blocks.{0}.{2}.conv_pw", "blocks.{0}.{2}.bn1"),
    (r"stage(\d+)_block(\d+)_depthwise", "blocks.{0}.{2}.conv_dw", "blocks.{0}.{2}.bn2"),
    (r"stage(\d+)_block(\d+)_project", "blocks.{0}.{2}.conv_pwl", "blocks.{0}.{2}.bn3"),
    (r"last", "conv_head", "bn2"),
    (r"logits", "classifier", ""),
)
NAMINGS = {"resnet": RESNET, "mobilenet_v2": MOBILENET_V2}
STATISTICS = ("weight", "bias", "running_mean", "running_var")


def load_weights(model: keras.Model, path: pathlib.Path) -> None:
    """Give a ResNet or MobileNet-v2 of this package the weights of a file.

    Raises:
        RunError: no readable file, a network without published names, tensors missing, left over or of other shapes.
    """
    tensors = _read(path)
    values = [(tensor, layout(tensors.pop(tensor, None))) for tensor, layout in tensor_names(model)]
    missing = [tensor for tensor, value in values if value is None]
    if missing:
        raise RunError(
            f"{path} has no tensor {missing[0]} ({len(missing)} are missing): another network than {model.name}"
        )
    left = [name for name in tensors if not name.endswith("num_batches_tracked")]
    if left:
        raise RunError(f"{path} also holds {left[0]} ({len(left)} tensors too many): another network than {model.name}")
    for weight, (tensor, value) in zip(model.weights, values, strict=True):
        if tuple(weight.shape) != value.shape:
            raise RunError(
                f"{path}: {tensor} has the shape {value.shape}, {weight.path} of {model.name} has {tuple(weight.shape)}"
            )
    model.set_weights([value for _, value in values])


def tensor_names(model: keras.Model) -> Iterator[tuple[str, Callable]]:
    """For each of the model's weights in turn, timm's name and what makes Keras's layout of the tensor (or None)."""
    naming = next((rules for prefix, rules in NAMINGS.items() if model.name.startswith(prefix)), None)
    if naming is None:
        raise RunError(f"{model.name} has no published names: a .safetensors file fits {', '.join(NAMINGS)}")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            name = _renamed(layer.name.removesuffix("_norm"), naming, 2)
            yield from ((f"{name}.{part}", _as_it_is) for part in STATISTICS)
        elif layer.weights:
            name = _renamed(layer.name, naming, 1)
            yield from ((f"{name}.{part}", _layout(layer, part)) for part in ("weight", "bias")[: len(layer.weights)])


def _renamed(name: str, naming: tuple, column: int) -> str:
    for rule in naming:
        found = re.fullmatch(rule[0], name)
        if found:
            stage, block, part = (*map(int, found.groups()), 0, 0, 0)[:3]
            return rule[column].format(stage - 1, stage, block - 1, part)
    raise RunError(f"layer {name} has no published name")


def _as_it_is(tensor: np.ndarray | None) -> np.ndarray | None:
    return tensor


def _layout(layer: keras.layers.Layer, part: str) -> Callable:
    """PyTorch's kernels are [C_out, C_in, K, K], depthwise [C, 1, K, K], dense [C_out, C_in]."""
    if part == "bias":
        return _as_it_is
    axes = {keras.layers.Conv2D: (2, 3, 1, 0), keras.layers.DepthwiseConv2D: (2, 3, 0, 1), keras.layers.Dense: (1, 0)}
    order = axes[type(layer)]

    def transposed(tensor: np.ndarray | None) -> np.ndarray | None:
        return None if tensor is None or tensor.ndim != len(order) else tensor.transpose(order)

    return transposed


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        tensors = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"--pretrained {path}: not a readable .safetensors file ({error})") from error
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
