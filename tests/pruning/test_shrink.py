import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keras.src.applications import convnext, densenet, efficientnet_v2, nasnet, resnet  # of other depths

from secateur.pruning import ChannelGraph, mask, shrink
from secateur.pruning.copies import set_weights
from secateur.utils.errors import UsageError
from tests.pruning import networks


def logits(model: keras.Model, seed: int = 3) -> np.ndarray:
    pictures = np.random.default_rng(seed).normal(0, 1, (5, *model.input_shape[1:])).astype(np.float32)
    return np.concatenate([np.asarray(part) for part in keras.tree.flatten(model(pictures, training=False))], axis=-1)


def assert_equal_functions(a: keras.Model, b: keras.Model) -> None:
    expected = logits(a)
    np.testing.assert_allclose(logits(b), expected, atol=2e-5 * max(np.sqrt(np.mean(expected**2)), 1e-3))


@pytest.mark.parametrize("build", networks.ALL)
@settings(
    max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_shrunk_equals_masked(build, randomise, data):
    model = randomise(build(), seed=data.draw(st.integers(0, 99)))
    groups = [group for group in ChannelGraph(model).groups.values() if group.prunable]
    keep = {
        group.name: sorted(data.draw(st.sets(st.integers(0, group.size - 1), min_size=1), label=group.name))
        for group in groups
    }
    shrunk = shrink(model, keep)
    assert_equal_functions(mask(model, keep), shrunk)
    if any(len(keep[group.name]) < group.size for group in groups):
        assert shrunk.count_params() < model.count_params()


@pytest.mark.parametrize("build", networks.ALL)
def test_model_itself_stays_untouched(build, randomise):
    model = randomise(build())
    before, weights = logits(model), model.get_weights()
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    shrink(model, {group.name: [0] for group in ChannelGraph(model).groups.values() if group.prunable})
    np.testing.assert_array_equal(logits(model), before)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes


@pytest.mark.parametrize("build", [networks.residual, networks.normalised_at_the_input, networks.towers])
def test_keeping_everything_is_the_same_model(randomise, build):
    model = randomise(build())
    graph = ChannelGraph(model)
    keep = {name: range(group.size) for name, group in graph.groups.items()}
    shrunk = shrink(graph, keep)
    np.testing.assert_array_equal(logits(shrunk), logits(model))
    np.testing.assert_array_equal(logits(mask(graph, keep)), logits(model))
    assert [layer.name for layer in shrunk.layers] == [layer.name for layer in graph.model.layers]


def test_adapted_statistics_go_along():
    """Not those that the layer is built with, whatever is copied."""
    model = networks.normalised_at_the_input()
    expected = logits(model)
    assert np.abs(expected).max() > 0
    np.testing.assert_array_equal(logits(shrink(model, {})), expected)
    model.get_layer("normalise").adapt(np.zeros((1, 6, 6, 3)))
    assert np.abs(logits(model) - expected).max() > 0.1


@pytest.mark.parametrize("empty", [("one_conv1",), ("two_conv1",), ("one_conv1", "two_conv1")])
def test_empty_block_becomes_its_shortcut(randomise, empty):
    model = randomise(networks.residual())
    keep = {name: [] for name in empty}
    shrunk = shrink(model, keep)
    assert_equal_functions(mask(model, keep), shrunk)
    names = {layer.name for layer in shrunk.layers}
    for name in empty:
        block = name.split("_")[0]
        assert not {f"{block}_conv1", f"{block}_conv2", f"{block}_conv1_norm", f"{block}_conv2_norm"} & names


def test_masking_the_producer_instead_is_not_the_same(randomise):
    """Why the masked model is defined by its consumers: a norm turns zeros into a constant."""
    model = randomise(networks.chain())
    keep = {"a": [0, 2]}
    wrong = keras.models.clone_model(model)
    wrong.set_weights(model.get_weights())
    for variable in wrong.get_layer("a").weights:
        value = variable.numpy()
        value[..., [1, 3, 4, 5]] = 0
        variable.assign(value)
    assert np.abs(logits(wrong) - logits(shrink(model, keep))).max() > 1e-2


def test_shrunk_model_loads_without_this_program(randomise, tmp_path):
    model = randomise(networks.residual())
    shrunk = shrink(model, {"one_conv1": [], "two_conv1": [1, 3], "stem": [0, 1, 3]})
    shrunk.save(tmp_path / "model.keras")
    script = (
        "import sys, keras, numpy as np\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "assert not [name for name in sys.modules if name.startswith('secateur')]\n"
        "np.save(sys.argv[2], model(np.ones((2, 8, 8, 3), 'float32')))\n"
    )
    paths = [str(tmp_path / "model.keras"), str(tmp_path / "logits.npy")]
    subprocess.run([sys.executable, "-c", script, *paths], check=True, capture_output=True)
    expected = shrunk(np.ones((2, 8, 8, 3), np.float32))
    np.testing.assert_allclose(np.load(paths[1], allow_pickle=False), expected, rtol=1e-5, atol=1e-6)


PICTURE = (32, 32, 3)
APPLICATIONS = keras.applications
# Few and narrow layers where a family lets one choose; `benchmarks/architectures.py` goes through all networks.
FAMILIES = {
    "ConvNeXt": partial(convnext.ConvNeXt, [1, 1, 1, 1], [16, 24, 32, 48], input_shape=PICTURE),
    "DenseNet": partial(densenet.DenseNet, [1, 1, 1, 1], input_shape=PICTURE),
    "EfficientNet": partial(APPLICATIONS.EfficientNetB0, input_shape=PICTURE),
    "EfficientNetV2": partial(
        efficientnet_v2.EfficientNetV2, 0.5, 0.2, 32, name="efficientnetv2-b0", input_shape=PICTURE
    ),
    "Inception": partial(APPLICATIONS.InceptionV3, input_shape=(75, 75, 3)),
    "InceptionResNet": partial(APPLICATIONS.InceptionResNetV2, input_shape=(75, 75, 3)),
    "MobileNet": partial(APPLICATIONS.MobileNet, input_shape=PICTURE, alpha=0.25),
    "MobileNetV2": partial(APPLICATIONS.MobileNetV2, input_shape=PICTURE, alpha=0.35),
    "MobileNetV3": partial(APPLICATIONS.MobileNetV3Small, input_shape=PICTURE, alpha=0.75),
    "NASNet": partial(nasnet.NASNet, input_shape=PICTURE, penultimate_filters=96, num_blocks=1, stem_block_filters=8),
    "ResNet": partial(
        resnet.ResNet,
        partial(resnet.stack_residual_blocks_v1, filters=8, blocks=2, name="s"),
        False,
        True,
        input_shape=PICTURE,
    ),
    "ResNetV2": partial(APPLICATIONS.ResNet50V2, input_shape=PICTURE),
    "VGG": partial(APPLICATIONS.VGG16, input_shape=PICTURE, include_top=False, pooling="avg"),
    "Xception": partial(APPLICATIONS.Xception, input_shape=(71, 71, 3)),
}
# Of eight hundred layers.
DEEP = ("InceptionResNet",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full_size) if name in DEEP else name for name in FAMILIES]
)
def test_a_network_of_each_family_of_keras_applications(name):
    top = {} if name == "VGG" else {"classes": 5, "classifier_activation": None}
    model = FAMILIES[name](weights=None, **top)
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if len(variable.shape) == 1:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    set_weights(model, model.get_weights())  # so that its normalisation knows
    groups = [group for group in ChannelGraph(model).groups.values() if group.prunable]
    keep = {g.name: np.sort(generator.choice(g.size, (g.size + 1) // 2, replace=False)).tolist() for g in groups}
    shrunk = shrink(model, keep)
    assert_equal_functions(mask(model, keep), shrunk)
    assert shrunk.count_params() < (0.7 if name == "ConvNeXt" else 0.45) * model.count_params()


def test_policies_and_frozen_layers_stay(randomise):
    model = networks.chain()
    model.get_layer("a").trainable = False
    with_policy = keras.layers.Conv2D(4, 1, dtype="mixed_bfloat16", name="mixed")(model.get_layer("b").output)
    model = randomise(keras.Model(model.input, keras.layers.Dense(2)(keras.layers.Flatten()(with_policy))))
    shrunk = shrink(model, {"a": [0, 1], "mixed": [0, 3]})
    assert not shrunk.get_layer("a").trainable
    assert shrunk.get_layer("mixed").dtype_policy.name == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("keep", "says"),
    [
        ({"nothing": [0]}, "no channel group nothing"),
        ({"logits": [0]}, "must stay: they reach an output"),
        ({"a": [0, 6]}, "0 to 5"),
        ({"a": [1, 0]}, "ascending"),
        ({"a": [1, 1]}, "different"),
        ({"a": []}, "keep at least one"),
    ],
)
def test_wrong_plans_are_refused(keep, says):
    model = networks.chain()
    with pytest.raises(UsageError, match=says):
        shrink(model, keep)


def test_a_dictionary_of_inputs_stays_one(randomise):
    a, b = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    x = keras.layers.Add()([keras.layers.Conv2D(4, 3, name="a")(a), keras.layers.Conv2D(4, 3, name="b")(b)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = randomise(keras.Model({"left": a, "right": b}, {"scores": keras.layers.Dense(2, name="logits")(x)}))
    keep = {"a": [0, 3]}
    pictures = {name: np.random.default_rng(0).normal(size=(2, 8, 8, 3)) for name in ("left", "right")}
    expected, found = mask(model, keep)(pictures), shrink(model, keep)(pictures)
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-4, atol=1e-5)
