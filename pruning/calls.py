"""The calls of a functional model, in the order in which they run."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from secateur.pruning.copies import call_with, layers_inside, new_layer, weights_of
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
    """The model as one functional graph: itself, or a flat copy of a Sequential or of a model that holds models.

    Layers of nested models keep their names; a name that occurs twice gets the names of its models in front, and a
    number where that is not enough.

    Raises:
        UsageError: a subclassed or unbuilt model, which has no graph to read, at the top or inside.
    """
    if not getattr(model, "inputs", None):
        raise UsageError(
            f"{model.name} is a {type(model).__name__} without a graph: only functional and built Sequential models "
            "can be pruned; rebuild it with keras.Model(inputs, outputs)"
        )
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if not any(isinstance(layer, keras.Model) for layer in model.layers):
        return model
    return _Flattener(model).flat()


def work_of(call: Call) -> str:
    """A text that is equal for calls that do the same work: the same kind of layer on inputs of the same shape."""
    settings = {name: value for name, value in call.layer.get_config().items() if name not in ("name", "trainable")}
    return repr((type(call.layer).__name__, sorted(settings.items(), key=str), call.inputs[0].shape[1:]))


def record(model: keras.Model) -> Record:
    """Every call of a functional model, nested ones resolved; the model is not touched."""
    return _record(functional(model))


def tensors(structure: object) -> tuple[keras.KerasTensor, ...]:
    """The symbolic tensors in a nested structure."""
    return tuple(leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, keras.KerasTensor))


def replaced(arguments: Any, values: dict[int, Any]) -> Any:
    """A structure of arguments with each tensor exchanged for the value of its id."""
    return keras.tree.map_structure(lambda x: values.get(id(x), x), arguments)


def _record(model: keras.Model) -> Record:
    # Keras has no public way to list the calls, but to clone the model, which draws random weights for every variable.
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    calls = [
        Call(
            node.operation, (node.arguments.args, node.arguments.kwargs), tuple(node.input_tensors), tuple(node.outputs)
        )
        for node in nodes
        if not node.is_input
    ]
    return Record(tuple(calls), tuple(model.inputs), tuple(model.outputs))


class _Flattener:
    """Calls the layers of nested models one by one on the outer graph, with copies of their weights."""

    def __init__(self, model: keras.Model):
        self._model = model
        self._taken = Counter(layer.name for layer in layers_inside(model))
        self._given: set[str] = set()
        self._layers: dict[int, keras.layers.Layer] = {}

    def flat(self) -> keras.Model:
        model = self._model
        inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in model.inputs]
        outputs = self._replay(model, inputs, "")
        ends = (model.input, inputs), (model.output, outputs)
        return keras.Model(*(keras.tree.pack_sequence_as(form, part) for form, part in ends), name=model.name)

    def _replay(self, model: keras.Model, inputs: Sequence[Any], prefix: str) -> list[Any]:
        if not getattr(model, "inputs", None):
            raise UsageError(f"{model.name} inside {self._model.name} is a {type(model).__name__} without a graph")
        if isinstance(model, keras.Sequential):
            model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
        known = _record(model)
        values: dict[int, Any] = {id(t): x for t, x in zip(known.inputs, inputs, strict=True)}
        for call in known.calls:
            args, kwargs = replaced(call.arguments, values)
            if isinstance(call.layer, keras.Model):
                results = self._replay(call.layer, tensors(args), f"{prefix}{call.layer.name}_")
            else:
                results = self._call(call.layer, args, kwargs, prefix)
            values |= {id(t): x for t, x in zip(call.outputs, results, strict=True)}
        return [values[id(t)] for t in known.outputs]

    def _call(self, layer: keras.layers.Layer, args: tuple, kwargs: dict, prefix: str) -> list[Any]:
        if id(layer) not in self._layers:
            self._layers[id(layer)] = new_layer(layer, name=self._name(layer, prefix))
        return call_with(self._layers[id(layer)], weights_of(layer), args, kwargs)

    def _name(self, layer: keras.layers.Layer, prefix: str) -> str:
        name = layer.name if self._taken[layer.name] == 1 else f"{prefix}{layer.name}"
        names = itertools.chain([name], (f"{name}_{k}" for k in itertools.count(2)))
        free = next(n for n in names if n not in self._given and (n == layer.name or n not in self._taken))
        self._given.add(free)
        return free
