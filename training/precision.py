"""The form of a model that is trained: fast layers, mixed precision."""

import keras

from secateur.pruning.calls import functional
from secateur.pruning.copies import new_layer, set_weights
from secateur.training.layers import FusedBatchNormalization, SynchronizedBatchNormalization

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
# Pixel values and logits keep float32: bfloat16 has eight bits, and these layers cost nothing.
FLOAT32_LAYERS = (keras.layers.Rescaling, keras.layers.Normalization, keras.layers.Softmax)
# A processor's bfloat16 kernels work on blocks of 16 channels. Layers of few channels that do not fill their blocks are
# faster in float32, and a pruned network is fastest with both.
BLOCK, NB_CHANNELS_BFLOAT16 = 16, 64


def resolve(mixed_precision: str, has_gpu: bool, has_bfloat16: bool) -> str:
    """The precision that "auto" stands for: float16 on a GPU, bfloat16 on a CPU that has it, else float32."""
    if mixed_precision != "auto":
        return mixed_precision
    if has_gpu:
        return "float16"
    return "bfloat16" if has_bfloat16 else "float32"


def cpu_has_bfloat16(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether the processor multiplies bfloat16 itself; without it the type is emulated and slow."""
    try:
        with open(cpuinfo, encoding="utf-8") as file:
            flags = file.read()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def to_training(model: keras.Model, precision: str = "float32", sync_bn: bool = False) -> keras.Model:
    """A copy of a model for training: fused batch norms, `precision` inside, float32 at both ends.

    Args:
        model: functional or Sequential, also with models inside; it is not changed.
        precision: "float32", "bfloat16" or "float16"; variables stay float32, and so do in "bfloat16" the layers that
            read or make fewer than 64 channels and no multiple of 16.
        sync_bn: batch norms take the statistics of all workers' pictures.

    Returns:
        One flat functional model with the same layer names and the same weights.
    """
    model = functional(model)
    policy = POLICIES[precision]
    last = set(model.output_names)

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not isinstance(layer, keras.layers.Layer):  # an operation of keras.ops has no precision of its own
            return new_layer(layer)
        slow = precision == "bfloat16" and _leaves_blocks_unfilled(layer)
        keeps_float32 = slow or layer.name in last or isinstance(layer, FLOAT32_LAYERS)
        precise = "float32" if keeps_float32 else policy
        if type(layer) is keras.layers.BatchNormalization:
            norm = SynchronizedBatchNormalization if sync_bn else FusedBatchNormalization
            return norm.from_config(layer.get_config() | {"dtype": precise})
        return new_layer(layer, dtype=precise)

    copied = keras.models.clone_model(model, clone_function=copy)
    set_weights(copied, model.get_weights())
    return copied


def _leaves_blocks_unfilled(layer: keras.layers.Layer) -> bool:
    """Whether a layer of the model reads or makes a feature map [B, H, W, C] that is slow in bfloat16."""
    shapes = [tensor.shape for tensor in keras.tree.flatten([layer.input, layer.output])]
    widths = [shape[-1] for shape in shapes if len(shape) == 4]
    return any(width < NB_CHANNELS_BFLOAT16 and width % BLOCK for width in widths)
