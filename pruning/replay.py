"""A model written anew, call by call, with some calls in another form."""

from collections.abc import Callable
from typing import Any

import keras

from secateur.pruning.calls import Call, record, replaced
from secateur.pruning.copies import call_with, new_layer, weights_of


def replay(model: keras.Model, instead: Callable[[Call, Any], Any]) -> keras.Model:
    """A copy of a functional model of one input and one output.

    Args:
        instead: (call, the new tensor of its first input) to the call's new output, or None for a copy of the layer
            with its weights.
    """
    recorded = record(model)
    copies: dict[str, keras.layers.Layer] = {}

    def copied(call: Call, values: dict[int, Any]) -> Any:
        args, kwargs = replaced(call.arguments, values)
        if call.layer.name not in copies:
            copies[call.layer.name] = new_layer(call.layer)
        return call_with(copies[call.layer.name], weights_of(call.layer), args, kwargs)

    (source,) = recorded.inputs
    inputs = keras.Input(batch_shape=source.shape, dtype=source.dtype, name=source.name)
    values: dict[int, Any] = {id(source): inputs}
    for call in recorded.calls:
        outputs = instead(call, values[id(call.inputs[0])])
        outputs = copied(call, values) if outputs is None else outputs
        values |= {id(t): x for t, x in zip(call.outputs, keras.tree.flatten(outputs), strict=True)}
    return keras.Model(inputs, values[id(recorded.outputs[0])], name=model.name)
