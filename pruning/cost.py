"""Counting: multiply-accumulates and parameters, one function for all methods."""

import math

import keras

from secateur.pruning.calls import Call, record

layers = keras.layers
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
PLAIN = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.Dense)


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
    return sum(kernel_macs(call))


def kernel_macs(call: Call) -> list[int]:
    """Multiply-accumulates of each kernel of a call's layer, in the order of its weights; none for other layers."""
    layer = call.layer
    if isinstance(layer, SEPARABLE):
        kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
        return [math.prod(kernel.shape) * _places(call.outputs[0]) for kernel in kernels]
    if isinstance(layer, TRANSPOSED):
        return [math.prod(layer.kernel.shape) * _places(call.inputs[0])]
    if isinstance(layer, PLAIN):
        return [math.prod(layer.kernel.shape) * _places(call.outputs[0])]
    return []


def _places(tensor: keras.KerasTensor) -> int:
    """Positions of a tensor between the batch and the channels."""
    return math.prod(tensor.shape[1:-1])
