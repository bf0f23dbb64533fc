"""Parts that the selection hangs onto a network: auxiliary heads, the cut between what is fixed and what is tuned."""

from collections.abc import Sequence

import keras


def with_head(model: keras.Model, head_at: str, seed: int) -> keras.Model:
    """The model with a second output: an auxiliary classifier on the output of the layer `head_at`.

    softmax(theta' AvgPool(ReLU(BN(O_p)))) of the paper, here as logits [B, K].
    """
    nb_classes = model.outputs[0].shape[-1]
    x = model.get_layer(head_at).output
    x = keras.layers.BatchNormalization(momentum=0.9, name="head_norm")(x)
    x = keras.layers.ReLU(name="head_relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    initializer = keras.initializers.GlorotUniform(seed)
    head = keras.layers.Dense(nb_classes, kernel_initializer=initializer, name="head_logits")(x)
    return keras.Model(model.input, [model.outputs[0], head], name=model.name)


def without_head(model: keras.Model) -> keras.Model:
    """The model with its first output only."""
    return keras.Model(model.input, model.outputs[0], name=model.name)


def split_at(model: keras.Model, layers: Sequence[str], output: keras.KerasTensor) -> tuple[keras.Model, keras.Model]:
    """Cut the network where the named layers begin to matter.

    While only these layers' kernels change, everything before them can be computed once.

    Args:
        model: functional, every layer called once. Its layers are shared with the results, so pass a copy.
        layers: convolutions none of which depends on another one.
        output: a tensor of the model that depends on them, such as the logits of a head.

    Returns:
        prefix: pictures to the list of tensors that cross the cut.
        tail: those tensors to [*outputs of the named layers, `output`].
    """
    tuned = [model.get_layer(name) for name in layers]
    needed = _needed_for(model, output)
    changes = {id(layer.output) for layer in tuned}
    crossing = {id(layer.input): layer.input for layer in tuned}
    for layer in model.layers:
        inputs = _inputs(layer)
        if layer.name not in needed or not any(id(t) in changes for t in inputs):
            continue
        changes.add(id(layer.output))
        crossing |= {id(t): t for t in inputs if id(t) not in changes}
    frontier = list(crossing.values())
    return keras.Model(model.input, frontier), keras.Model(frontier, [*[layer.output for layer in tuned], output])


def _needed_for(model: keras.Model, output: keras.KerasTensor) -> set[str]:
    """Names of the layers that `output` depends on."""
    wanted, names = {id(output)}, set()
    for layer in reversed(model.layers):
        if id(layer.output) in wanted:
            names.add(layer.name)
            wanted |= {id(t) for t in _inputs(layer)}
    return names


def _inputs(layer: keras.layers.Layer) -> list[keras.KerasTensor]:
    return list(layer.input) if isinstance(layer.input, list | tuple) else [layer.input]
