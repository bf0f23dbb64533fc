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
        layers: names of layers with kernels; one may depend on another.
        output: a tensor of the model that depends on them, such as the logits of a head.

    Returns:
        prefix: pictures to the list of tensors that cross the cut.
        tail: those tensors to [*outputs of the named layers, `output`].
    """
    needed = _needed_for(model, output)
    changed: set[int] = set()
    crossing: dict[int, keras.KerasTensor] = {}
    for layer in model.operations:
        inputs = keras.tree.flatten(layer.input)
        reached = layer.name in needed and any(id(t) in changed for t in inputs)
        if layer.name in layers or reached:
            changed |= {id(t) for t in keras.tree.flatten(layer.output)}
            crossing |= {id(t): t for t in inputs if id(t) not in changed}
    frontier = list(crossing.values())
    features = [model.get_layer(name).output for name in layers]
    if any(output is feature for feature in features):  # the classifier reads the channels too
        output = keras.layers.Identity()(output)  # Keras refuses a model with one tensor as two outputs
    return keras.Model(model.input, frontier), keras.Model(frontier, [*features, output])


def _needed_for(model: keras.Model, output: keras.KerasTensor) -> set[str]:
    """Names of the layers and operations that `output` depends on."""
    wanted, names = {id(output)}, set()
    for layer in reversed(model.operations):
        if wanted & {id(t) for t in keras.tree.flatten(layer.output)}:
            names.add(layer.name)
            wanted |= {id(t) for t in keras.tree.flatten(layer.input)}
    return names
