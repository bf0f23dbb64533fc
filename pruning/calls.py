"""The calls of a functional model, in the order in which they run."""

from typing import NamedTuple

import keras

from secateur.utils.errors import UsageError


class Call(NamedTuple):
    """One call of a layer.

    Attributes:
        layer: the layer of the recorded model itself.
        arguments: (args, kwargs) as the layer was called.
        inputs, outputs: the symbolic tensors among its arguments and results.
    """

    layer: keras.layers.Layer
    arguments: tuple[tuple, dict]
    inputs: tuple[keras.KerasTensor, ...]
    outputs: tuple[keras.KerasTensor, ...]


class Record(NamedTuple):
    """A model as a list of calls.

    Attributes:
        calls: in topological order, input layers left out.
        inputs, outputs: the tensors that enter and leave the model.
    """

    calls: tuple[Call, ...]
    inputs: tuple[keras.KerasTensor, ...]
    outputs: tuple[keras.KerasTensor, ...]


def functional(model: keras.Model) -> keras.Model:
    """The model if it is functional, or the functional form of a Sequential.

    Raises:
        UsageError: a subclassed or unbuilt model, which has no graph to read.
    """
    if not getattr(model, "inputs", None):
        raise UsageError(
            f"{model.name} is a {type(model).__name__} without a graph: only functional and built Sequential models "
            "can be pruned; rebuild it with keras.Model(inputs, outputs)"
        )
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def new_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A fresh layer of the same configuration (a clone function that returned the old one would alter the model)."""
    return type(layer).from_config(layer.get_config())


def record(model: keras.Model) -> Record:
    """Every call of a functional model, read off a copy; the model is not touched."""
    model = functional(model)
    originals = {layer.name: layer for layer in model.layers}
    calls = []

    def call(layer: keras.layers.Layer, *args: object, **kwargs: object) -> object:
        outputs = layer(*args, **kwargs)
        calls.append(Call(originals[layer.name], (args, kwargs), tensors((args, kwargs)), tensors(outputs)))
        return outputs

    copy = keras.models.clone_model(model, clone_function=new_layer, call_function=call)
    return Record(tuple(calls), tuple(copy.inputs), tuple(copy.outputs))


def tensors(structure: object) -> tuple[keras.KerasTensor, ...]:
    """The symbolic tensors in a nested structure."""
    return tuple(leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, keras.KerasTensor))
