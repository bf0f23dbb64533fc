import keras
import numpy as np
import pytest

from secateur.learners.fcf import squeeze
from secateur.nets.mobilenet import mobilenet_v2
from secateur.nets.resnet import resnet, resnet_ilsvrc12
from secateur.nets.vgg import vgg16_cifar10
from secateur.pruning import ChannelGraph, cost
from secateur.pruning.blocks import branch_convolutions
from tests.pruning.networks import residual


def inception() -> keras.Model:
    """Two branches side by side, and one convolution that reads both."""
    inputs = keras.Input((8, 8, 1))
    x = unit(inputs, 5, 3, "a")
    x = keras.layers.Concatenate()([unit(x, 4, 1, "narrow"), unit(x, 6, 3, "wide")])
    x = keras.layers.GlobalAveragePooling2D()(unit(x, 7, 3, "b"))
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def unit(x, width, size, name):
    x = keras.layers.Conv2D(width, size, padding="same", name=name)(x)
    return keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"{name}_norm")(x))


NETWORKS = {
    "basic": lambda: resnet((8, 8, 1), 3, 14, (4, 6, 8)),
    "bottleneck": lambda: resnet_ilsvrc12(50, 3, 32, (4, 4, 6, 6), (2, 1, 1, 1)),
    "chain": lambda: vgg16_cifar10(3, 32, ((4, 4), (6,), (8,), (8,), (8,))),
    "biased": residual,
    "concatenated": inception,
    "depthwise": lambda: mobilenet_v2(3, 32, 0.25, ((1, 16, 1, 1), (6, 24, 2, 2))),
}


def masked(model, found):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for name, (read, made) in found.items():
        kernel = copy.get_layer(name).kernel
        kernel.assign(kernel * read[:, None] * made)
    return copy


def some(model, names, share=0.5):
    generator = np.random.default_rng(0)
    sizes = {name: model.get_layer(name).filters for name in names}
    return {n: sorted(generator.permutation(size)[: max(1, round(share * size))].tolist()) for n, size in sizes.items()}


def test_a_block_reads_what_the_block_before_kept():
    model = NETWORKS["basic"]()
    graph = ChannelGraph(model)
    kept = some(model, branch_convolutions(graph.record))
    found = squeeze.masks(graph, kept)
    assert found["stage1_block1_conv1"][0].all()
    assert np.flatnonzero(found["stage1_block2_conv1"][0]).tolist() == kept["stage1_block1_conv2"]
    assert np.flatnonzero(found["stage2_block1_conv1"][0]).tolist() == kept["stage1_block2_conv2"]
    assert np.flatnonzero(found["stage2_block1_conv2"][0]).tolist() == kept["stage2_block1_conv1"]
    assert np.flatnonzero(found["stage3_block2_conv2"][1]).tolist() == kept["stage3_block2_conv2"]


def test_behind_a_concatenation_all_its_parts_are_read():
    model = inception()
    kept = {"a": [0, 3], "narrow": [1], "wide": [0, 5], "b": [2]}
    found = squeeze.masks(ChannelGraph(model), kept)
    assert np.flatnonzero(found["b"][0]).tolist() == [1, 4, 9]
    small, left = squeeze.without_inner_channels(masked(model, found), found)
    assert small.get_layer("b").kernel.shape == (3, 3, 3, 7)
    assert left["b"][0].tolist() == [1, 1, 1]
    # Where something else reads a branch too, its channels stay.
    without = {name: found[name] for name in ("a", "narrow", "wide")}
    small, left = squeeze.without_inner_channels(masked(model, without), without)
    assert small.get_layer("narrow").filters == 4
    assert left["narrow"][0].tolist() == [1, 1]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("form", [squeeze.DENSE, squeeze.SQUEEZE, squeeze.EXPAND, squeeze.BOTH])
def test_every_form_is_the_masked_network(randomise, network, form):
    model = randomise(NETWORKS[network]())
    graph = ChannelGraph(model)
    found = squeeze.masks(graph, some(model, branch_convolutions(graph.record)))
    full = masked(model, found)
    small, left = squeeze.without_inner_channels(full, found)
    forms = {
        name: form for name, (read, made) in left.items() if form == squeeze.DENSE or not (read.all() or made.all())
    }
    forms |= {name: squeeze.EXPAND for name, (_, made) in left.items() if name not in forms and not made.all()}
    built = squeeze.build(small, left, forms)
    pictures = np.random.default_rng(1).uniform(0, 255, (3, *model.input_shape[1:])).astype(np.float32)
    expected = np.asarray(full(pictures, training=False))
    np.testing.assert_allclose(built(pictures, training=False), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert cost.macs(small) < cost.macs(model)
    assert all(type(layer).__module__.startswith("keras.") for layer in built.layers)


def test_the_papers_count(randomise):
    """A rate of a quarter: the share that methods.md recomputes for ResNet-20, 41.6 %, less the norms it counts too."""
    model = resnet((32, 32, 3), 10, 20)
    graph = ChannelGraph(model)
    kept = some(model, branch_convolutions(graph.record), 0.75)
    gone = 1 - squeeze.method_macs(model, squeeze.masks(graph, kept)) / cost.macs(model)
    assert gone == pytest.approx(0.416, abs=0.01)


def test_forms_are_measured_where_there_is_a_choice(tmp_path, randomise, monkeypatch):
    model = randomise(NETWORKS["basic"]())
    graph = ChannelGraph(model)
    found = squeeze.masks(graph, some(model, branch_convolutions(graph.record)))
    small, left = squeeze.without_inner_channels(masked(model, found), found)
    seen = {}

    def record(candidates, folder):
        seen.update({name: sorted(forms) for name, (_, forms) in candidates.items()})
        for _, forms in candidates.values():
            assert len({build().output_shape for build in forms.values()}) == 1
        return {"forms": {}}

    monkeypatch.setattr(squeeze, "measured_forms", record)
    squeeze.fastest_forms(small, left, tmp_path)
    assert "stage1_block1_conv1" not in seen
    assert seen["stage1_block2_conv1"] == ["dense", "squeeze"]
    assert seen["stage1_block1_conv2"] == ["dense", "expand"]
