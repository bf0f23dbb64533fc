import numpy as np
import pytest

from secateur.learners.fcf.config import FcfConfig
from secateur.learners.fcf.counts import filter_magnitudes, group_magnitudes, nb_filters, planned_counts
from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.pruning.widths import first_channels


@pytest.fixture
def model(randomise):
    return randomise(resnet((8, 8, 1), 3, 8, (8, 12, 16)))


def test_magnitudes_of_filters_and_groups(model):
    graph = ChannelGraph(model)
    kernel = np.abs(model.get_layer("stage2_block1_conv1").kernel.numpy())
    np.testing.assert_allclose(filter_magnitudes(model, "stage2_block1_conv1"), kernel.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(group_magnitudes(graph, "stage2_block1_conv1"), kernel.mean((0, 1, 2)), rtol=1e-5)
    stream = next(group for group in graph.groups.values() if "stage2_block1_conv2" in group.producers)
    parts = [filter_magnitudes(model, layer) for layer in stream.producers]
    assert len(parts) == 2
    np.testing.assert_allclose(group_magnitudes(graph, stream.name), np.mean(parts, axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "ratio", "kept"),
    [(16, 0.45, 8), (32, 0.45, 17), (64, 0.45, 35), (64, 0.15, 54), (16, 0.25, 12), (7, 0.99, 1)],
)
def test_the_papers_count(size, ratio, kept):
    """The whole part of size * (1 - rate), which is one less than leaving out the whole part of size * rate."""
    assert nb_filters(size, ratio) == kept
    assert nb_filters(size, ratio, 8) == min(-(-kept // 8) * 8, size)


def test_uniform_counts_and_multiples(model, tmp_path):
    magnitudes = {"a": np.ones(16), "b": np.ones(10)}
    assert planned_counts(FcfConfig(fcf_prune_ratio=0.25), model, magnitudes, tmp_path) == {"a": 12, "b": 7}
    config = FcfConfig(fcf_prune_ratio=0.5, channel_multiple="8")
    assert planned_counts(config, model, magnitudes, tmp_path) == {"a": 8, "b": 8}
    assert planned_counts(FcfConfig(fcf_prune_ratio=0.99), model, magnitudes, tmp_path) == {"a": 1, "b": 1}


def test_a_global_ranking_is_bounded(model, tmp_path):
    magnitudes = {"weak": np.full(20, 0.1), "strong": np.full(20, 1.0)}
    found = planned_counts(FcfConfig(fcf_prune_ratio=0.5, fcf_ranking="global"), model, magnitudes, tmp_path)
    assert found == {"weak": 2, "strong": 18}
    config = FcfConfig(fcf_prune_ratio=0.5, fcf_ranking="global", channel_multiple="4")
    assert planned_counts(config, model, magnitudes, tmp_path) == {"weak": 4, "strong": 20}


def test_a_macs_target_is_met_closely(model, tmp_path):
    graph = ChannelGraph(model)
    magnitudes = {name: group_magnitudes(graph, name) for name, group in graph.groups.items() if group.prunable}
    found = planned_counts(FcfConfig(fcf_target_macs=0.5), model, magnitudes, tmp_path)
    share = cost.macs(shrink(model, first_channels(found))) / cost.macs(model)
    assert 0.4 < share <= 0.5
