import keras
import pytest

from secateur.pruning import ChannelGraph
from secateur.utils.errors import UsageError

layers = keras.layers


def branch(*middle: keras.layers.Layer) -> keras.Model:
    """A convolution "a", the given layers and "b", added to a projection; all at 4 channels, 4x4."""
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 1, name="a")(inputs)
    for layer in middle:
        x = layer(x)
    x = layers.Add(name="sum")([layers.Conv2D(4, 1, name="b")(x), layers.Conv2D(4, 1, name="way")(inputs)])
    return keras.Model(inputs, layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(x)))


def test_norms_and_activations_keep_a_constant():
    model = branch(layers.Conv2D(4, 1, name="mid"), layers.BatchNormalization(), layers.ReLU())
    assert ChannelGraph(model).removable("a")


def test_a_padded_convolution_makes_a_border_of_a_constant():
    model = branch(layers.Conv2D(4, 1, name="mid"), layers.Conv2D(4, 3, padding="same", name="padded"), layers.ReLU())
    graph = ChannelGraph(model)
    assert not graph.removable("a")
    assert graph.removable("mid")


def test_nothing_leads_around_a_stream():
    graph = ChannelGraph(branch())
    assert graph.removable("a")
    assert not graph.removable("b")


def test_two_branches_cannot_both_go():
    inputs = keras.Input((4, 4, 3))
    sides = [layers.Conv2D(4, 1, name=f"{n}2")(layers.Conv2D(2, 1, name=n)(inputs)) for n in "ab"]
    x = layers.GlobalAveragePooling2D()(layers.Add()(sides))
    graph = ChannelGraph(keras.Model(inputs, layers.Dense(2)(x)))
    assert graph.removable("a")
    assert graph.removable("b")
    with pytest.raises(UsageError, match="all channels of a, b would go"):
        graph.removed({"a": [], "b": []})
