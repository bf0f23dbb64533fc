import keras
import numpy as np
import pytest

from secateur.learners.fbs import gated
from secateur.learners.fbs.counting import count
from secateur.nets.cifarnet import cifarnet
from secateur.nets.resnet import resnet
from secateur.pruning import cost


def batches(model, nb_classes, number=6):
    generator = np.random.default_rng(0)
    images = generator.uniform(0, 255, (number, *model.input_shape[1:])).astype(np.float32)
    return [(images[:4], np.arange(4) % nb_classes), (images[4:], np.arange(number - 4) % nb_classes)]


def test_a_dense_gate_costs_the_dense_network_and_its_predictors(randomise):
    dense = randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8)))
    model = gated.gated(dense, 1.0, "paper", 0.0)
    found = count(model, batches(model, 3), 3)
    predictors = sum(int(np.prod(gate.phi.shape)) for gate in gated.gate_layers(model))
    np.testing.assert_allclose(found.per_picture, cost.macs(dense) + predictors)
    assert set(found.fired) == {gate.name for gate in gated.gate_layers(model)}
    assert all(np.all(shares == 1) for shares in found.fired.values())


def test_inputs_and_outputs_are_skipped_and_sums_join(randomise):
    model = gated.gated(randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8))), 0.5, "paper", 0.0)
    layers = count(model, batches(model, 3), 3).layers
    inner, first = layers["stage1_block1_conv2_gated"], layers["stage1_block1_conv1_gated"]
    assert (inner["read"], inner["made"]) == (0.5, 0.5)
    assert inner["macs"] == pytest.approx(0.25 * inner["dense_macs"] + 0.5 * 16)
    assert first["read"] == 0.5
    assert layers["stem_gated"]["read"] == 1.0


def test_behind_an_addition_lives_what_either_branch_has(randomise):
    """The stem's winners are channels 0 and 1, those of the block's second convolution 1 and 2: three of four live."""
    model = gated.gated(randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8))), 0.5, "paper", 0.0)
    for name, winners in (("stem_gated", (0, 1)), ("stage1_block1_conv2_gated", (1, 2))):
        model.get_layer(name).rho.assign(np.isin(np.arange(4), winners).astype(np.float32))
    found = count(model, batches(model, 3), 3)
    assert found.layers["stage2_block1_conv1_gated"]["read"] == 0.75
    assert found.layers["stage1_block1_conv1_gated"]["read"] == 0.5
    assert set(found.dynamic_share.values()) == {0.0}


def test_behind_a_sigmoid_everything_lives(randomise):
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, name="first")(inputs))
    x = keras.layers.Conv2D(4, 3, name="second")(keras.layers.Activation("sigmoid")(x))
    outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    model = gated.gated(randomise(keras.Model(inputs, outputs)), 0.5, "paper", 0.0)
    layers = count(model, batches(model, 4), 4).layers
    assert (layers["first_gated"]["made"], layers["second_gated"]["read"]) == (0.5, 1.0)


def one_channel(x):
    """A gated map of a single channel, which stands for all of them where it is merged."""
    made = keras.layers.Conv2D(1, 3, padding="same", name="one")(x)
    return keras.layers.ReLU()(keras.layers.BatchNormalization()(made))


@pytest.mark.parametrize(
    ("merge", "read"),
    [
        (lambda a, b, whole: keras.layers.Concatenate()([a, b, whole]), (1 + 1 + 2) / 6),
        (lambda a, b, whole: keras.layers.Concatenate(axis=1)([a, b]), 1.0),
        (lambda a, b, whole: keras.layers.Multiply()([a, b]), 0.0),
        (lambda a, b, whole: keras.layers.Multiply()([a, whole]), 0.5),
        (lambda a, b, whole: a * b, 0.0),
        (lambda a, b, whole: a * 2.0, 0.5),
        (lambda a, b, whole: keras.layers.Maximum()([a, b]), 1.0),
        (lambda a, b, whole: keras.layers.Multiply()([a, one_channel(b)]), 0.5),
        (lambda a, b, whole: a + one_channel(b), 1.0),
    ],
)
def test_parts_and_products(randomise, merge, read):
    """Of one branch channel 0 wins, of the other channel 1; the picture's two channels all live."""
    inputs = keras.Input((6, 6, 2))
    parts = []
    for name in ("a", "b"):
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3, padding="same", name=name)(inputs))
        parts.append(keras.layers.ReLU()(x))
    x = keras.layers.Conv2D(4, 3, name="reader")(merge(*parts, inputs))
    outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    model = gated.gated(randomise(keras.Model(inputs, outputs)), 0.5, "paper", 0.0)
    winners = {"a_gated": 0, "b_gated": 1}
    for gate in gated.gate_layers(model):
        if gate.name in winners:
            gate.rho.assign(np.eye(2)[winners[gate.name]])
    assert count(model, batches(model, 4), 4).layers["reader_gated"]["read"] == pytest.approx(read)


@pytest.mark.parametrize(
    "between",
    [lambda x: x + 1.0, keras.layers.Permute((3, 1, 2)), keras.layers.GroupNormalization(2)],
    ids=["a constant", "channels elsewhere", "a norm over several"],
)
def test_what_brings_back_channels_that_are_off(randomise, between):
    inputs = keras.Input((4, 4, 2))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs))
    x = keras.layers.Conv2D(4, 3, padding="same", name="second")(between(x))
    outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    model = gated.gated(randomise(keras.Model(inputs, outputs)), 0.5, "paper", 0.0)
    layers = count(model, batches(model, 4), 4).layers
    assert (layers["first_gated"]["made"], layers["second_gated"]["read"]) == (0.5, 1.0)


def test_flattened_channels_stay_off(randomise):
    inputs = keras.Input((4, 4, 2))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, name="first")(inputs))
    outputs = keras.layers.Dense(4, name="dense")(keras.layers.Flatten()(keras.layers.ReLU()(x)))
    model = gated.gated(randomise(keras.Model(inputs, outputs)), 0.5, "paper", 0.0)
    assert count(model, batches(model, 4), 4).layers["dense"]["read"] == 0.5


def test_each_call_of_a_layer_counts(randomise):
    inputs, again = keras.Input((6, 6, 2)), keras.layers.Conv2D(4, 3, padding="same", name="again")
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, name="first")(inputs))
    dense = randomise(keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(again(again(x)))))
    model = gated.gated(dense, 1.0, "paper", 0.0)
    found = count(model, batches(model, 4), 4)
    np.testing.assert_allclose(found.per_picture, cost.macs(dense) + 2 * 4)
    assert found.layers["again (call 2)"]["macs"] == found.layers["again"]["macs"] == 16 * 9 * 4 * 4


def test_the_published_network_at_half_density():
    """174.3 M dense; about 44 M where liveness passes dropout, as methods.md recomputes."""
    model = gated.gated(cifarnet(), 0.5, "paper", 0.0)
    found = count(model, batches(model, 10, 5), 10)
    assert found.per_picture.mean() / 1e6 == pytest.approx(44.2, abs=0.6)


def test_classes_are_told_apart(randomise):
    model = gated.gated(randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8))), 0.5, "paper", 0.0)
    generator = np.random.default_rng(0)
    for gate in gated.gate_layers(model):
        gate.phi.assign(generator.normal(0, 2, gate.phi.shape))
    fired = count(model, batches(model, 2), 2).fired["stem_gated"]
    assert fired.shape == (2, 4)
    np.testing.assert_allclose(fired.sum(axis=1), 2.0)
    gated.calibrate(model, [images for images, _ in batches(model, 2)], seed=0)
    assert max(count(model, batches(model, 2), 2).dynamic_share.values()) > 0.2
