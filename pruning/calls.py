"""The calls of a functional model, in the order in which they run."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

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


def new_layer(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """A fresh layer of the same configuration (a clone function that returned the old one would alter the model).

    Args:
        changes: configuration entries that are to be different.

    Raises:
        UsageError: the configuration does not tell everything, or names a function or class that is not registered.
    """
    if type(layer) is keras.layers.Lambda:
        # Its configuration holds the function as byte code, which Keras does not read back; the function is at hand.
        known = {"name": layer.name, "arguments": layer.arguments, "mask": layer.mask, "dtype": layer.dtype_policy}
        return keras.layers.Lambda(layer.function, output_shape=layer._output_shape, **(known | changes))
    try:
        return type(layer).from_config(layer.get_config() | changes)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{layer.name} ({type(layer).__name__}) cannot be made again from its get_config(): its own classes and "
            f"functions need @keras.saving.register_keras_serializable() ({str(error).splitlines()[0]})"
        ) from error


def work_of(call: Call) -> str:
    """A text that is equal for calls that do the same work: the same kind of layer on inputs of the same shape."""
    settings = {name: value for name, value in call.layer.get_config().items() if name not in ("name", "trainable")}
    return repr((type(call.layer).__name__, sorted(settings.items(), key=str), call.inputs[0].shape[1:]))


def call_with(
    layer: keras.layers.Layer, weights: Sequence[np.ndarray], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Any]:
    """Call a fresh layer and give it its weights; the outputs, flat."""
    with _no_random_values(layer):
        outputs = keras.tree.flatten(layer(*args, **kwargs))
    if weights:
        set_weights(layer, weights)
    return outputs


def call_copy(layer: keras.layers.Layer, x: Any, **changes: Any) -> Any:
    """What a copy of a layer with the same weights makes of a tensor; `changes` as for `new_layer`."""
    (outputs,) = call_with(new_layer(layer, **changes), weights_of(layer), (x,), {})
    return outputs


def weights_of(layer: keras.layers.Layer) -> list[np.ndarray]:
    """Of a layer; [] for an operation, which is none."""
    return layer.get_weights() if getattr(layer, "weights", None) else []


def set_weights(target: keras.layers.Layer, weights: Sequence[np.ndarray]) -> None:
    """Give a layer or a model its weights, as its method does, and renew what layers computed from their old ones.

    `Normalization` works with constants that it makes of its weights when it is built, adapted or loaded.
    """
    target.set_weights(weights)
    for layer in _layers_inside(target):
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


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


@contextlib.contextmanager
def _no_random_values(layer: keras.layers.Layer) -> Iterator[None]:
    """Inside, the layer is built with zeros: drawing random ones takes longer than all the rest of making a copy."""
    drawn = {
        name: value
        for name, value in vars(layer).items()
        if name.endswith("_initializer") and isinstance(value, keras.initializers.Initializer)
    }
    for name in drawn:
        setattr(layer, name, keras.initializers.Zeros())
    try:
        yield
    finally:
        for name, value in drawn.items():
            setattr(layer, name, value)


class _Flattener:
    """Calls the layers of nested models one by one on the outer graph, with copies of their weights."""

    def __init__(self, model: keras.Model):
        self._model = model
        self._taken = Counter(layer.name for layer in _layers_inside(model))
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


def _layers_inside(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """The layers of a model at every depth, not the models; of a layer, itself."""
    if isinstance(layer, keras.Model):
        for inner in layer.layers:
            yield from _layers_inside(inner)
    else:
        yield layer
