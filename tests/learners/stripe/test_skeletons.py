import keras
import numpy as np
import pytest

from secateur.learners.stripe import ops, rebuild
from secateur.learners.stripe.skeletons import Skeletons
from secateur.learners.stripe.step import trained_weights
from secateur.nets.mobilenet import mobilenet_v2
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.training.precision import to_training
from tests.pruning.networks import residual


def test_one_stripe_of_the_stem_stays_whatever_the_threshold(parts):
    graph, _, skeletons = parts
    strongest = np.unravel_index(skeletons.of["stem"].numpy().argmax(), (3, 3, 4))
    skeletons.remove_down_to(0.0)
    values = skeletons.values()
    assert np.argwhere(values.pop("stem")).tolist() == [list(strongest)]
    assert not any(value.any() for value in values.values())
    # One of nine positions of the stem's four filters on 64 places, what they read, and what cannot die.
    least = 64 + sum(
        cost.layer_macs(graph.model)[name] for name in ("stage2_block1_shortcut", "stage3_block1_shortcut")
    )
    assert skeletons.macs() == skeletons.least_macs() == least + cost.layer_macs(graph.model)["logits"]


@pytest.mark.parametrize("target", [0.45, 0.5, 0.65])
def test_a_weak_layer_does_not_take_too_much_with_it(parts, target):
    """With its last stripe the convolution in front of it would leave, and miss the target by more than 3 %."""
    _, _, skeletons = parts
    chance = np.random.default_rng(0)
    for name in skeletons.layers:
        low, high = (0.55, 0.6) if name == "stage1_block1_conv2" else (0.5, 1.5)
        skeletons.of[name].assign(chance.uniform(low, high, skeletons.of[name].shape))
    whole = skeletons.macs()
    skeletons.remove_down_to(target * whole, 0.97 * target * whole)
    assert 0.97 * target <= skeletons.macs() / whole <= target


def test_a_budget_below_one_stripe_of_each_layer_is_kept_to(parts):
    """Then layers leave, whatever they take with them."""
    _, _, skeletons = parts
    whole = skeletons.macs()
    one_of_each = {name: layer._replace(keeps_one=True) for name, layer in skeletons.layers.items()}
    least = ops.method_macs(skeletons.values(), one_of_each, skeletons.others, np.inf)
    budget = (skeletons.least_macs() + least) / 2
    skeletons.remove_down_to(budget, 0.97 * budget)
    assert skeletons.macs() <= budget < least < whole


def test_the_shortest_filters_die_as_a_whole(parts):
    """As long as the kernels that they stand for, and what is dead stays dead."""
    _, _, skeletons = parts
    name = "stage2_block1_conv1"
    kernel = skeletons.kernels()[name].numpy()
    longest = np.argsort(-np.square(kernel).sum(axis=(0, 1, 2)))
    skeletons.narrow({name: 4})
    live = np.flatnonzero(skeletons.of[name].numpy().any(axis=(0, 1)))
    assert set(live) == set(longest[:4])
    np.testing.assert_allclose(skeletons.kernels()[name].numpy()[..., live], kernel[..., live])
    skeletons.narrow({name: 6})
    assert len(np.flatnonzero(skeletons.of[name].numpy().any(axis=(0, 1)))) == 4


@pytest.mark.parametrize("killed", ["conv1", "conv2"])
def test_dead_blocks_leave_the_network(parts, killed):
    """Their other convolution with them, in the count too, and what is left is the network with the dead blocks."""
    graph, model, skeletons = parts
    before = skeletons.macs()
    for k in (1, 2, 3):
        skeleton = skeletons.of[f"stage{k}_block1_{killed}"]
        skeleton.assign(np.zeros(skeleton.shape))
    masked, plan = rebuild.folded(model, skeletons), rebuild.plan(graph, skeletons)
    small = shrink(masked, plan)
    pictures = np.random.default_rng(0).uniform(0, 255, (8, *masked.input_shape[1:])).astype(np.float32)
    assert not {layer.name for layer in small.layers} & {f"stage{s}_block1_conv{k}" for s in (1, 2, 3) for k in (1, 2)}
    assert small.get_layer("stage2_block1_shortcut").filters == 6
    np.testing.assert_allclose(small(pictures), masked(pictures), atol=1e-4)
    assert skeletons.macs() == cost.macs(small) < before
    assert rebuild.method_params(small) == cost.params(small)
    assert not skeletons.live()["stage2_block1_conv1"].any()
    assert not skeletons.computed()["stage2_block1_conv2"].any()


def test_joined_branches_that_cannot_both_go(randomise):
    """Without both a convolution would read nothing but a constant, of which the next one makes a border."""

    def normed(x, filters, size, name):
        x = keras.layers.Conv2D(filters, size, padding="same", use_bias=False, name=name)(x)
        return keras.layers.BatchNormalization()(x)

    inputs = keras.Input((8, 8, 3))
    stem = keras.layers.ReLU()(normed(inputs, 8, 3, "stem"))
    branches = [keras.layers.ReLU()(normed(stem, 4, 3, name)) for name in ("a", "b")]
    x = keras.layers.ReLU()(normed(keras.layers.Concatenate()(branches), 6, 1, "between"))
    x = keras.layers.Add()([stem, normed(x, 8, 3, "last")])
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    dense = randomise(keras.Model(inputs, keras.layers.Dense(3)(x)))
    graph, model = ChannelGraph(dense), to_training(dense, "float32")
    skeletons = Skeletons(graph, model, from_norms=True)
    for name in ("a", "b"):
        skeletons.of[name].assign(np.zeros(skeletons.of[name].shape))
    assert graph.removable("a")
    assert graph.removable("b")
    assert not graph.removable("a", "b")
    plan = rebuild.plan(graph, skeletons)
    assert sorted(len(plan[name]) for name in ("a", "b")) == [0, 1]
    masked, pictures = rebuild.folded(model, skeletons), np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    np.testing.assert_allclose(shrink(masked, plan)(pictures), masked(pictures), atol=1e-4)


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
