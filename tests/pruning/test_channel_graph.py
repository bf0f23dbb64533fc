import keras
import numpy as np
import pytest

from secateur.pruning import ChannelGraph, shrink
from secateur.utils.errors import UsageError
from tests.pruning import networks

layers = keras.layers


def test_groups_of_a_residual_network():
    graph = ChannelGraph(networks.residual())
    groups = graph.groups
    assert list(groups) == ["stem", "one_conv1", "one_conv2", "two_conv1", "squeeze", "logits"]
    stream = groups["one_conv2"]
    assert set(stream.producers) == {"one_shortcut", "one_conv2", "two_conv2", "excite"}
    assert set(stream.consumers) == {"two_conv1", "squeeze", "logits"}
    assert stream.passes_add
    assert not graph.removable("one_conv2")
    inner = groups["two_conv1"]
    assert (inner.size, inner.producers, inner.consumers) == (5, ("two_conv1",), ("two_conv2",))
    assert inner.members == ("two_conv1_norm", "two_relu1")
    assert graph.removable("two_conv1")
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
        (layers.Conv2D(4, 1, groups=2, name="odd"), ""),
        (layers.GroupNormalization(groups=1, name="odd"), "odd .GroupNormalization. reads them"),
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
    assert groups["odd"].reason == "the activation of odd has no rule and may mix them"


@keras.saving.register_keras_serializable(package="tests")
def unit(x):
    return x / keras.ops.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("activation", [unit, layers.Softmax(), layers.PReLU()])
def test_activations_of_ones_own_keep_the_channels(activation):
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 1, activation=activation, name="a")(inputs)
    x = layers.Activation(unit, name="odd")(layers.Conv2D(4, 1, name="b")(x))
    groups = ChannelGraph(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))).groups
    assert groups["a"].reason == "the activation of a has no rule and may mix them"
    assert groups["b"].reason.startswith("odd (Activation) reads them and has no rule")


def test_a_function_that_is_not_registered_is_named():
    def own(x):
        return x

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, layers.Conv2D(4, 1, activation=own, name="odd")(inputs))
    with pytest.raises(UsageError, match=r"odd .Conv2D. cannot be made again.*register_keras_serializable"):
        shrink(model, {})


@pytest.mark.parametrize("activation", ["relu", "swish", keras.activations.gelu, layers.LeakyReLU(), None])
def test_known_activations_let_channels_go(activation):
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 1, activation=activation, name="a")(inputs)
    assert ChannelGraph(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))).groups["a"].prunable


def test_a_product_of_matrices_keeps_the_channels():
    inputs = keras.Input((4, 3))
    x = layers.Dot(axes=-1, name="odd")([layers.Dense(5, name="a")(inputs), layers.Dense(5, name="b")(inputs)])
    groups = ChannelGraph(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))).groups
    assert groups["a"].reason.startswith("odd (Dot) reads them and has no rule")
    assert not groups["b"].prunable


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


def test_a_grouped_convolution_ties_its_groups():
    graph = ChannelGraph(networks.grouped())
    assert (graph.groups["a"].size, graph.groups["pairs"].size) == (4, 3)
    assert graph.groups["pairs"].members[0] == "single"
    np.testing.assert_array_equal(graph.positions("a", "pairs"), [0, 1, 2, 3, 0, 1, 2, 3])


def test_a_group_norm_ties_the_channels_of_a_group():
    groups = ChannelGraph(networks.normalised_in_groups()).groups
    assert (groups["a"].size, groups["b"].size) == (4, 6)


def test_models_inside_are_resolved_and_names_stay_unique():
    graph = ChannelGraph(networks.nested())
    names = [layer.name for layer in graph.model.layers]
    assert {"conv", "inner_deep_conv", "relu", "conv2", "sum", "logits"} <= set(names)
    assert len(names) == len(set(names))
    assert graph.groups["conv"].producers == ("conv", "conv2")


def test_names_that_occur_at_the_same_depth_get_the_whole_path():
    graph = ChannelGraph(networks.towers())
    convolutions = [layer.name for layer in graph.model.layers if isinstance(layer, layers.Conv2D)]
    assert convolutions == ["left_deep_conv_2", "right_deep_conv", "left_deep_conv"]
    assert graph.groups["left_deep_conv"].size == 5


def test_a_single_channel_that_acts_on_all_stays():
    groups = ChannelGraph(networks.written_with_operators()).groups
    assert groups["gate"].reason == "a single channel acts on all others"
    assert groups["a"].passes_add


def test_constant_arrays_keep_the_channels():
    inputs = keras.Input((4, 4, 3))
    x = keras.ops.multiply(layers.Conv2D(4, 1, name="a")(inputs), np.ones(4, np.float32))
    graph = ChannelGraph(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    assert not graph.groups["a"].prunable


def test_attention_and_unknown_layers_say_why():
    class Own(keras.layers.Layer):
        def call(self, x):
            return x[..., ::-1]

    for layer in (layers.MultiHeadAttention(2, 4, name="odd"), Own(name="odd"), layers.Lambda(lambda x: x, name="odd")):
        inputs = keras.Input((6, 3))
        x = layers.Dense(8, name="a")(inputs)
        x = layer(x, x) if isinstance(layer, layers.MultiHeadAttention) else layer(x)
        group = ChannelGraph(keras.Model(inputs, layers.Dense(2)(x))).groups["a"]
        assert not group.prunable
        assert group.reason.startswith(f"odd ({type(layer).__name__}) reads them")


def test_of_a_transformer_the_perceptron_can_be_narrower():
    groups = ChannelGraph(networks.transformer()).groups
    assert [name for name, group in groups.items() if group.prunable] == ["hidden"]
    assert groups["patches"].producers == ("patches", "perceptron")
    assert groups["patches"].reason.startswith("before_attention (LayerNormalization) reads them")


def test_a_subclass_of_a_known_layer_is_unknown():
    class Odd(layers.ReLU):
        def call(self, x):
            return x - keras.ops.mean(x, axis=-1, keepdims=True)

    inputs = keras.Input((4, 4, 3))
    x = Odd(name="odd")(layers.Conv2D(4, 1, name="a")(inputs))
    assert not ChannelGraph(keras.Model(inputs, layers.Dense(2)(x))).groups["a"].prunable
