"""What a model must be like to be trained, pruned, saved and converted."""

import keras

from secateur.pruning.copies import new_layer
from secateur.utils.errors import UsageError

# Layers that end a classifier of probabilities, and the operations of keras.ops of the same names.
PROBABILITIES = ("softmax", "sigmoid")


def check_model(model: keras.Model, takes_logits: bool = True, nb_heads: int = 0) -> None:
    """Refuse what would fail, or become wrong unnoticed, only after the training.

    Args:
        model: one flat functional graph.
        takes_logits: whether the loss applies a softmax of its own.
        nb_heads: outputs behind the first one, which training alone needs.

    Raises:
        UsageError: not one input of a fixed shape and one output [B, K], probabilities where logits are wanted, or a
            layer that no file can hold.
    """
    nb_inputs, nb_outputs = len(model.inputs), len(model.outputs) - nb_heads
    if (nb_inputs, nb_outputs) != (1, 1):
        raise UsageError(
            f"{model.name} has {nb_inputs} input(s) and {nb_outputs} output(s): must be one of each, pictures in and "
            "logits out; build keras.Model(pictures, logits)"
        )
    picture, logits = model.inputs[0].shape[1:], model.outputs[0].shape[1:]
    if None in picture:
        raise UsageError(
            f"{model.name} takes inputs of the shape {picture}: must be a fixed one, as in the exported files; build "
            "the model with keras.Input((height, width, channels)) and give it the weights by set_weights"
        )
    if len(logits) != 1 or logits[0] < 2:
        raise UsageError(
            f"{model.name} gives {logits} for a picture: must be one logit for each of two classes or more"
        )
    probabilities = _probabilities(model)
    if takes_logits and probabilities:
        raise UsageError(
            f"{model.name} ends with a {probabilities}: the loss applies a softmax itself; leave it out, so that the "
            "model gives logits, or give a loss of your own that takes probabilities"
        )
    for layer in model.layers:
        check_savable(layer)


def check_savable(layer: keras.layers.Layer) -> None:
    """Refuse a layer that `keras.models.load_model` would not load.

    Raises:
        UsageError: a Lambda, a class or function that is not registered, or a configuration that does not tell all.
    """
    kind = type(layer)
    if kind is keras.layers.Lambda:
        raise UsageError(
            f"{layer.name} is a Lambda: a file with it cannot be loaded; write it with keras.ops or as a registered "
            "layer of your own"
        )
    own = kind.__module__.split(".")[0] not in ("keras", "secateur")
    if own and keras.saving.get_registered_object(keras.saving.get_registered_name(kind)) is not kind:
        raise UsageError(
            f"{layer.name} is a {kind.__name__}, which a saved model could not be loaded with: put "
            "@keras.saving.register_keras_serializable() before its class"
        )
    new_layer(layer)


def _probabilities(model: keras.Model) -> str:
    """The name of what makes probabilities of the model's logits, "" where nothing does."""
    last = next(layer for layer in model.operations if layer.name == model.output_names[0])
    activation = getattr(last, "activation", None) or type(last)
    name = getattr(activation, "__name__", type(activation).__name__).lower()
    return name if name in PROBABILITIES else ""
