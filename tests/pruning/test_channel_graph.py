import keras
import numpy as np
import pytest

from secateur.pruning import ChannelGraph
from secateur.utils.errors import UsageError
from tests.pruning import networks

layers = keras.layers


def test_groups_of_a_residual_network():
    groups = ChannelGraph(networks.residual()).groups
    assert list(groups) == ["stem", "one_conv1", "one_conv2", "two_conv1", "squeeze", "logits"]
    stream = groups["one_conv2"]
    assert set(stream.producers) == {"one_shortcut", "one_conv2", "two_conv2", "excite"}
    assert set(stream.consumers) == {"two_conv1", "squeeze", "logits"}
    assert stream.passes_add
    assert not stream.removable
    inner = groups["two_conv1"]
    assert (inner.size, inner.producers, inner.consumers) == (5, ("two_conv1",), ("two_conv2",))
    assert inner.members == ("two_conv1_norm", "two_relu1")
    assert inner.removable
    assert not inner.passes_add


def test_concatenation_joins_what_an_addition_joins():
    graph = ChannelGraph(networks.concatenated())
    group = graph.groups["a"]
    assert set(group.producers) == {"a", "b", "c"}
    assert group.size == 9


def test_concatenation_alone_joins_nothing():
    inputs = keras.Input((4, 4, 3))
    both = layers.Concatenate()([layers.Conv2D(2, 1, name="a")(inputs), layers.Conv2D(3, 1, name="b")(inputs)])
    graph = ChannelGraph(keras.Model(inputs, layers.Conv2D(2, 1, name="c")(both)))
    assert {name: group.size for name, group in graph.groups.items()} == {"a": 2, "b": 3, "c": 2}
    assert graph.groups["a"].consumers == ("c",)


def test_shared_layer_reads_and_makes_the_same_channels():
    group = ChannelGraph(networks.shared()).groups["a"]
    assert group.producers == ("a", "twice")
    assert group.consumers == ("twice", "logits")


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (layers.LayerNormalization(name="odd"), "odd .LayerNormalization. reads them"),
        (layers.Softmax(name="odd"), "odd .Softmax. reads them"),
        (layers.Conv2D(4, 1, groups=2, name="odd"), "odd .Conv2D. reads them"),
        (layers.Reshape((8, 2, 4), name="odd"), ""),
        (layers.Reshape((4, 2, 8), name="odd"), ""),
        (layers.Reshape((16, 2, 2), name="odd"), "odd .Reshape. reads them"),
        (layers.Permute((3, 1, 2), name="odd"), "odd .Permute. reads them"),
        (layers.Conv2D(4, 1, activation="softmax", name="odd"), ""),
        (layers.BatchNormalization(axis=1, name="odd"), "odd .BatchNormalization. reads them"),
    ],
)
def test_layers_without_a_rule_keep_their_channels(layer, says):
    inputs = keras.Input((4, 4, 3))
    x = layer(layers.Conv2D(4, 1, name="a")(inputs))
    x = layers.Dense(2, name="logits")(layers.Flatten()(x))
    group = ChannelGraph(keras.Model(inputs, x)).groups["a"]
    assert group.prunable == (not says)
    if says:
        with pytest.raises(UsageError, match=says):
            ChannelGraph(keras.Model(inputs, x)).removed({"a": [0]})


def test_softmax_inside_a_convolution_keeps_what_it_makes():
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 1, activation="softmax", name="odd")(inputs)
    groups = ChannelGraph(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))).groups
    assert groups["odd"].reason == "the activation of odd mixes them"


def test_flattened_channels_repeat_with_every_place():
    graph = ChannelGraph(networks.flattened())
    dense = next(call for call in graph.record.calls if call.layer.name == "hidden")
    conv = next(call for call in graph.record.calls if call.layer.name == "a")
    np.testing.assert_array_equal(graph.flows.of(dense.inputs[0]), np.tile(graph.flows.of(conv.outputs[0]), 4 * 4))


def test_model_without_a_graph_is_refused():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(UsageError, match=r"is a Subclassed without a graph.*rebuild it"):
        ChannelGraph(Subclassed())
