import keras
import pytest

from secateur.pruning.checks import check_model
from secateur.utils.errors import UsageError
from tests.pruning import networks

layers = keras.layers


def ending(*ends: keras.layers.Layer, shape: tuple = (8, 8, 3)) -> keras.Model:
    inputs = keras.Input(shape)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="a")(inputs))
    for end in ends:
        x = end(x)
    return keras.Model(inputs, x, name="own")


def unknown(x):
    """Nobody registered it."""
    return x


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (networks.several_ends(), r"1 input\(s\) and 2 output\(s\): must be one of each"),
        (ending(layers.Dense(3), shape=(None, None, 3)), r"of the shape \(None, None, 3\): must be a fixed one.*Input"),
        (ending(layers.Dense(1)), r"gives \(1,\) for a picture: must be one logit for each of two classes"),
        (ending(layers.Dense(4), layers.Reshape((2, 2))), r"gives \(2, 2\) for a picture"),
        (ending(layers.Dense(3, activation="softmax")), "own ends with a softmax: .*leave it out"),
        (ending(layers.Dense(3), layers.Softmax()), "ends with a softmax"),
        (ending(layers.Dense(3), layers.Activation("sigmoid")), "ends with a sigmoid"),
        (ending(layers.Dense(3), keras.ops.softmax), "ends with a softmax"),
        (ending(layers.Lambda(lambda x: x, name="odd"), layers.Dense(3)), "odd is a Lambda"),
        (ending(layers.Dense(3, activation=unknown, name="odd")), "odd .Dense. cannot be made again"),
    ],
)
def test_what_would_fail_after_the_training_is_refused_before(model, says):
    with pytest.raises(UsageError, match=says):
        check_model(model)


def test_what_suits_passes():
    for model in (ending(layers.Dense(3)), ending(layers.Dense(3, activation="tanh")), networks.one_dimensional()):
        assert check_model(model) is None
    assert check_model(ending(layers.Dense(3), layers.Softmax()), takes_logits=False) is None
    assert check_model(networks.several_ends(), nb_heads=1) is None
