import keras
import numpy as np
import pytest

from secateur.learners.stripe import rebuild
from secateur.learners.stripe.forms import BOXES, DENSE, FILTERS, STRIPES
from secateur.nets.resnet import resnet


@pytest.fixture
def model(randomise):
    """Dead stripes anywhere, dead filters, dead outer rows; one layer whole."""
    model = randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8)))
    live = np.random.default_rng(0).random((3, 3, 1, 4)) < 0.5
    kill(model.get_layer("stage1_block1_conv1"), live)
    kill(model.get_layer("stage2_block1_conv2"), np.arange(6) < 3)
    kill(model.get_layer("stage3_block1_conv2"), np.array([0, 1, 0])[:, None, None, None])
    return model


def kill(layer, live):
    layer.kernel.assign(layer.kernel * live.astype(np.float32))


ALL = {"stage1_block1_conv1": STRIPES, "stage2_block1_conv2": FILTERS, "stage3_block1_conv2": BOXES}
# What each form saves of a millisecond: the last layer most.
GAINS = {"stage1_block1_conv1": 0.1, "stage2_block1_conv2": 0.2, "stage3_block1_conv2": 0.3}


def chosen(model, tmp_path, monkeypatch, whole: dict) -> dict:
    """By a clock for single layers that prefers `ALL`, and one for the network: what was tried to milliseconds."""

    def alone(candidates, folder):
        forms = {name: sorted(found) for name, (_, found) in candidates.items()}
        assert forms == {name: sorted({DENSE, STRIPES, form}) for name, form in ALL.items()}
        return {
            "forms": ALL,
            "milliseconds": {name: {DENSE: 1.0, form: 1.0 - GAINS[name]} for name, form in ALL.items()},
        }

    monkeypatch.setattr(rebuild, "measured_forms", alone)

    def clock(networks, *_):
        for name, make in networks.items():
            nb_formed = 0 if name == DENSE else int(name.split()[0])
            assert [layer.name for layer in make().layers] == [
                layer.name for layer in rebuild.build(model, dict(by_gain[:nb_formed])).layers
            ]
        return {name: whole[name] for name in networks}

    by_gain = sorted(ALL.items(), key=lambda item: -GAINS[item[0]])
    monkeypatch.setattr(rebuild, "milliseconds", clock)
    return rebuild.fastest_forms(model, tmp_path)


def test_the_whole_network_has_the_last_word(model, tmp_path, monkeypatch):
    found = chosen(model, tmp_path, monkeypatch, {DENSE: 10.0, "1 forms": 9.5, "3 forms": 9.0})
    assert found["forms"] == ALL
    assert found["whole"] == {DENSE: 10.0, "3 forms": 9.0, "1 forms": 9.5}
    found = chosen(model, tmp_path, monkeypatch, {DENSE: 10.0, "1 forms": 9.5, "3 forms": 10.5})
    assert found["forms"] == dict.fromkeys(ALL, DENSE) | {"stage3_block1_conv2": BOXES}
    found = chosen(model, tmp_path, monkeypatch, {DENSE: 10.0, "1 forms": 9.9, "3 forms": 10.5})
    assert found["forms"] == dict.fromkeys(ALL, DENSE)
    assert found["milliseconds"]["stage2_block1_conv2"] == {DENSE: 1.0, FILTERS: 0.8}


def test_dead_filters_stay_as_zeros_where_that_is_faster(parts, tmp_path, monkeypatch):
    graph, trained, skeletons = parts
    value = skeletons.of["stage2_block1_conv1"].numpy()
    value[..., 1:4] = 0
    skeletons.of["stage2_block1_conv1"].assign(value)
    plans = {multiple: rebuild.plan(graph, skeletons, multiple) for multiple in (1, 2, 4, 8)}
    kept = {multiple: found["stage2_block1_conv1"] for multiple, found in plans.items()}
    assert kept == {1: [0, 4, 5], 2: [0, 1, 4, 5], 4: [0, 1, 4, 5], 8: [0, 1, 2, 3, 4, 5]}
    times, filters = {"1": 4.0, "2": 3.0, "8": 6.0}, {}

    def clock(networks, *_):
        filters.update({name: make().get_layer("stage2_block1_conv1").filters for name, make in networks.items()})
        return {name: times[name] for name in networks}

    monkeypatch.setattr(rebuild, "milliseconds", clock)
    monkeypatch.setattr(rebuild, "fastest_forms", lambda model, folder: {"model": model})
    masked = rebuild.folded(trained, skeletons)
    found = rebuild.fastest(masked, plans, tmp_path)
    assert (found["multiple"], found["milliseconds_by_multiple"]) == (2, times)
    assert filters == {"1": 3, "2": 4, "8": 6}  # 4 is what 2 is
    times["2"] = 3.95
    assert rebuild.fastest(masked, plans, tmp_path)["multiple"] == 1  # too little to be sure of
    pictures = np.random.default_rng(0).uniform(0, 255, (4, *masked.input_shape[1:])).astype(np.float32)
    np.testing.assert_allclose(found["model"](pictures), masked(pictures), rtol=1e-4, atol=1e-4)
    assert found["model"].get_layer("stage2_block1_conv1").filters == 4


def test_parameters_of_dead_stripes_do_not_count(model):
    dead = sum(int((layer.kernel.numpy() == 0).sum()) for layer in model.layers if type(layer) is keras.layers.Conv2D)
    assert rebuild.method_params(model) == model.count_params() - dead < model.count_params()


def test_a_network_in_these_forms_is_the_same_function(model):
    pictures = np.random.default_rng(1).uniform(0, 255, (4, 8, 8, 1)).astype(np.float32)
    built = rebuild.build(model, ALL)
    np.testing.assert_allclose(built(pictures), model(pictures), rtol=1e-4, atol=1e-4)
    assert {type(layer) for layer in built.layers} >= {keras.layers.DepthwiseConv2D}
    assert built.get_layer("stage3_block1_conv2").kernel_size == (1, 3)
