"""The trained dense model that a pruning method starts from."""

import pathlib

import keras

from secateur.pruning.calls import functional
from secateur.pruning.checks import check_model
from secateur.pruning.copies import set_weights
from secateur.training.task import Task, cross_entropy
from secateur.utils.errors import RunError


def load_pretrained(task: Task) -> keras.Model:
    """The task's network with the weights of the `.keras` file that `task.pretrained` names, float32, one flat graph.

    Raises:
        RunError: no such file, not a readable `.keras` file, or the file of another network.
        UsageError: a network that cannot go through a run (`check_model`).
    """
    path = pathlib.Path(task.pretrained or "")
    if not path.is_file():
        raise RunError(f"no pretrained model at {path}: train it with --learner full-prec or name one with --save_path")
    saved = load_saved(path)
    model = functional(task.build_model())
    check_model(model, task.loss is cross_entropy)
    found = [tuple(w.shape) for w in saved.weights]
    expected = [tuple(w.shape) for w in model.weights]
    if found != expected:
        raise RunError(
            f"{path} holds another network than {task.name}: {len(found)} weights instead of {len(expected)}, "
            f"or other shapes; name the right file with --save_path"
        )
    set_weights(model, saved.get_weights())
    return model


def load_saved(path: pathlib.Path) -> keras.Model:
    """The model of a `.keras` file, as one flat graph.

    Raises:
        RunError: no such file, or not a readable one.
    """
    if not path.is_file():
        raise RunError(f"{path} is not there: bring it back, or name the right file")
    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, TypeError) as error:
        raise RunError(f"{path} is not a readable .keras file ({str(error).splitlines()[0]})") from error
    return functional(model)
