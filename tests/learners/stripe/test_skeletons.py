import keras
import numpy as np
import pytest
import tensorflow as tf

from secateur.learners.stripe import rebuild
from secateur.learners.stripe.learner import _trained as trained_weights
from secateur.learners.stripe.skeletons import Skeletons, stripe_step
from secateur.nets.mobilenet import mobilenet_v2
from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.training.precision import to_training
from tests.pruning.networks import residual, shared


def test_one_stripe_of_the_stem_stays_whatever_the_threshold(parts):
    _, _, skeletons = parts
    strongest = np.unravel_index(skeletons.of["stem"].numpy().argmax(), (3, 3, 4))
    skeletons.remove_up_to(1e9)
    values = skeletons.values()
    assert np.argwhere(values.pop("stem")).tolist() == [list(strongest)]
    assert not any(value.any() for value in values.values())
    assert skeletons.macs() == skeletons.least_macs() == 64


@pytest.mark.parametrize("killed", ["conv1", "conv2"])
def test_dead_blocks_leave_the_network(parts, killed):
    """Their other convolution with them, in the count too, and what is left is the network with the dead blocks."""
    graph, model, skeletons = parts
    before = rebuild.method_macs(graph.model, skeletons)
    for k in (1, 2, 3):
        skeleton = skeletons.of[f"stage{k}_block1_{killed}"]
        skeleton.assign(np.zeros(skeleton.shape))
    masked, plan = rebuild.folded(model, skeletons), rebuild.plan(graph, skeletons)
    small = shrink(masked, plan)
    pictures = np.random.default_rng(0).uniform(0, 255, (8, *masked.input_shape[1:])).astype(np.float32)
    assert not {layer.name for layer in small.layers} & {f"stage{s}_block1_conv{k}" for s in (1, 2, 3) for k in (1, 2)}
    assert small.get_layer("stage2_block1_shortcut").filters == 6
    np.testing.assert_allclose(small(pictures), masked(pictures), atol=1e-4)
    assert rebuild.method_macs(graph.model, skeletons) == cost.macs(small) < before
    assert not skeletons.live()["stage2_block1_conv1"].any()


def test_dead_filters_are_not_read(randomise):
    """Though norms make something of them, also of what a depthwise convolution makes of them."""
    dense = randomise(mobilenet_v2(3, 32, 0.25, ((1, 16, 1, 1), (6, 24, 2, 2))))
    graph, model = ChannelGraph(dense), to_training(dense, "float32")
    skeletons = Skeletons(graph, model, from_norms=True)
    value = skeletons.of["stage2_block1_expand"].numpy()
    value[..., ::2] = 0
    skeletons.of["stage2_block1_expand"].assign(value)
    read = np.any(skeletons.kernels()["stage2_block1_project"], axis=(0, 1, 3))
    np.testing.assert_array_equal(read, np.arange(value.shape[-1]) % 2 == 1)
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    with keras.StatelessScope(state_mapping=skeletons.replaced()):
        expected = np.asarray(model(pictures, training=False))
    masked, plan = rebuild.folded(model, skeletons), rebuild.plan(graph, skeletons)
    small = shrink(masked, plan)
    assert small.get_layer("stage2_block1_expand").filters == np.sum(read)
    for found in (masked, small):
        np.testing.assert_allclose(found(pictures), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_layer_that_is_called_twice_counts_twice_and_stays_dense(tmp_path):
    dense = shared()
    graph, model = ChannelGraph(dense), to_training(dense, "float32")
    skeletons = Skeletons(graph, model, from_norms=True)
    assert rebuild.method_macs(graph.model, skeletons) == cost.macs(dense)
    assert skeletons.groups == []
    value = skeletons.of["twice"].numpy()
    value[0, :, :3] = 0
    skeletons.of["twice"].assign(value)
    # Nine stripes of the shared convolution, at both calls.
    assert rebuild.method_macs(graph.model, skeletons) == cost.macs(dense) - 2 * 64 * 9 * 5
    assert set(rebuild.fastest_forms(rebuild.folded(model, skeletons), tmp_path)["forms"]) == set()


def test_biased_projections_and_classifiers_keep_their_stripes():
    """A network as `keras.applications` makes them."""
    dense = residual()
    skeletons = Skeletons(ChannelGraph(dense), to_training(dense, "float32"), from_norms=True)
    assert set(skeletons.of) - set(skeletons.layers) == {"one_shortcut"}
    assert {"one_conv1", "two_conv1"} <= set(skeletons.groups)
    assert [name for name, layer in skeletons.layers.items() if layer.keeps_one] == ["stem"]
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="first")(inputs)
    x = keras.layers.Conv2D(5, 1, name="classes")(keras.layers.GlobalAveragePooling2D(keepdims=True)(x))
    dense = keras.Model(inputs, keras.layers.Activation("linear")(keras.layers.Reshape((5,))(x)))
    model = to_training(dense, "float32")
    skeletons = Skeletons(ChannelGraph(dense), model, from_norms=True)
    assert set(skeletons.layers) == {"first"}
    assert {v.path for v in trained_weights(model, "weights", ["classes"])} == {"classes/kernel", "classes/bias"}


def test_decay_acts_on_all_that_is_trained_and_the_l1_norm_on_stripes_that_may_die(randomise):
    """Of a loss that says nothing."""
    dense = randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8)))
    model = to_training(dense)
    skeletons = Skeletons(ChannelGraph(dense), model, from_norms=True)
    before = {name: variable.numpy() for name, variable in skeletons.of.items()}
    scale = model.get_layer("stem_norm").gamma.numpy()
    step = stripe_step(
        model,
        skeletons,
        model.trainable_variables,
        keras.optimizers.SGD(0.5),
        lambda labels, logits: 0.0 * tf.reduce_sum(logits),
        0.1,
        keras.Variable(0.01, trainable=False),
        0.0,
    )
    step(tf.zeros((2, 8, 8, 1)), tf.zeros((2,), tf.int32))
    np.testing.assert_allclose(model.get_layer("stem_norm").gamma, scale * (1 - 0.5 * 0.1), rtol=1e-5)
    for name, variable in skeletons.of.items():
        l1 = 0.01 if name in skeletons.layers else 0.0
        expected = before[name] - 0.5 * (0.1 * before[name] + l1 * np.sign(before[name]))
        alive = variable.numpy() != 0
        np.testing.assert_allclose(variable.numpy()[alive], expected[alive], rtol=1e-4)
        assert alive.mean() > 0.9
    assert {"stem", "stage2_block1_conv1"} < set(skeletons.layers)
    assert "stage2_block1_shortcut" not in skeletons.layers
