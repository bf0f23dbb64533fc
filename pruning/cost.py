"""Counting: multiply-accumulates and parameters, one function for all methods."""

import math

import keras

from secateur.pruning.calls import Call, record


def layer_macs(model: keras.Model) -> dict[str, int]:
    """Multiply-accumulates per picture of every convolution, depthwise convolution and dense layer.

    One MAC is one multiply and one add at the layer's output size; biases, norms (they fold into the convolution),
    activations, pooling and sums count nothing. A layer that is called twice counts twice.

    Args:
        model: functional, of fixed picture size.
    """
    found: dict[str, int] = {}
    for call in record(model).calls:
        macs = call_macs(call)
        if macs:
            found[call.layer.name] = found.get(call.layer.name, 0) + macs
    return found


def macs(model: keras.Model) -> int:
    """Multiply-accumulates of the whole model per picture."""
    return sum(layer_macs(model).values())


def params(model: keras.Model) -> int:
    """Numbers that the model stores, batch-norm statistics included."""
    return model.count_params()


def call_macs(call: Call) -> int:
    layer = call.layer
    if isinstance(layer, keras.layers.SeparableConv2D):
        kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
        return sum(math.prod(kernel.shape) for kernel in kernels) * _places(call.outputs[0])
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(layer.kernel.shape) * _places(call.inputs[0])
    if isinstance(layer, keras.layers.Conv1D | keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
        return math.prod(layer.kernel.shape) * _places(call.outputs[0])
    return 0


def _places(tensor: keras.KerasTensor) -> int:
    """Positions of a tensor between the batch and the channels."""
    return math.prod(tensor.shape[1:-1])
