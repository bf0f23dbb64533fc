import keras
import numpy as np
import pytest

from secateur.learners.dis_chn_pruned.layers import split_at, with_head, without_head
from secateur.nets.resnet import resnet

PICTURES = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype(np.float32)


@pytest.fixture
def model(randomise):
    return randomise(resnet((8, 8, 1), nb_classes=3, resnet_size=8))


def test_head_is_seeded_and_leaves_the_logits_alone(model):
    first, second = (with_head(model, "stage1_block1_relu2", seed=5) for _ in range(2))
    logits, head = first(PICTURES)
    np.testing.assert_array_equal(logits, model(PICTURES))
    assert head.shape == (4, 3)
    np.testing.assert_array_equal(head, second(PICTURES)[1])
    other = with_head(model, "stage1_block1_relu2", seed=6)(PICTURES)[1]
    assert np.abs(other - head).max() > 0
    bare = without_head(first)
    np.testing.assert_array_equal(bare(PICTURES), logits)
    assert not [layer.name for layer in bare.layers if layer.name.startswith("head_")]


@pytest.mark.parametrize("layer", ["stage1_block1_conv2", "stage2_block1_conv2", "stage3_block1_conv2", "stem"])
def test_prefix_and_tail_make_up_the_network(model, layer):
    expected = model(PICTURES)
    prefix, tail = split_at(model, [layer], model.outputs[0])
    crossing = prefix(PICTURES)
    features, logits = tail(crossing)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    assert features.shape == (4, *model.get_layer(layer).output.shape[1:])
    assert model.get_layer(layer) in tail.layers
    assert model.get_layer(layer) not in prefix.layers


def test_operations_carry_a_change_on(randomise):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    y = keras.ops.relu(keras.layers.Conv2D(4, 3, padding="same", name="b")(x) + x)
    model = randomise(keras.Model(inputs, keras.layers.Conv2D(3, 8, name="c")(y)))
    expected = model(PICTURES)
    prefix, tail = split_at(model, ["b"], model.outputs[0])
    assert [tuple(t.shape) for t in prefix.outputs] == [(None, 8, 8, 4)]
    crossing = prefix(PICTURES)
    model.get_layer("b").kernel.assign(0 * model.get_layer("b").kernel)
    _, logits = tail(crossing)
    np.testing.assert_allclose(logits, model(PICTURES), rtol=1e-5, atol=1e-5)
    assert np.abs(logits - expected).max() > 0.01


def test_tail_gives_the_logits_twice_where_the_classifier_is_one_of_the_layers(model):
    expected = model(PICTURES)
    prefix, tail = split_at(model, ["stage3_block1_conv2", "logits"], model.outputs[0])
    _, feature, logits = tail(prefix(PICTURES))
    np.testing.assert_array_equal(feature, logits)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_tail_up_to_a_head_leaves_out_what_comes_after(model):
    headed = with_head(model, "stage2_block1_relu2", seed=0)
    _, tail = split_at(headed, ["stage1_block1_conv2"], headed.outputs[1])
    names = {layer.name for layer in tail.layers}
    assert "head_logits" in names
    assert not [name for name in names if name.startswith("stage3")]
