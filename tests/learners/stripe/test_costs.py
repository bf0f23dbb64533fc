import keras
import numpy as np
import pytest

from secateur.learners.stripe import rebuild
from secateur.learners.stripe.skeletons import Skeletons
from secateur.nets.mobilenet import mobilenet_v2
from secateur.pruning import ChannelGraph, cost, shrink
from secateur.training.precision import to_training
from tests.pruning.networks import concatenated, flattened, shared


def inverted_residuals() -> keras.Model:
    return mobilenet_v2(3, 32, 0.25, ((1, 16, 1, 1), (6, 24, 2, 2)))


@pytest.mark.parametrize("build", [inverted_residuals, concatenated, flattened])
def test_dead_filters_cost_what_the_network_without_them_costs(build):
    """Depthwise and dense layers behind them too, and what reads several layers side by side."""
    dense = build()
    graph, model = ChannelGraph(dense), to_training(dense, "float32")
    skeletons = Skeletons(graph, model, from_norms=True)
    assert skeletons.groups
    assert skeletons.macs() == cost.macs(dense)
    for name in skeletons.groups:
        value = skeletons.of[name].numpy()
        value[..., ::2] = 0
        skeletons.of[name].assign(value)
    small = shrink(graph, rebuild.plan(graph, skeletons))
    assert skeletons.macs() == cost.macs(small) < cost.macs(dense)


def test_an_expansion_leaves_with_what_reads_it():
    dense = inverted_residuals()
    graph = ChannelGraph(dense)
    skeletons = Skeletons(graph, to_training(dense, "float32"), from_norms=True)
    skeletons.of["stage2_block2_project"].assign(np.zeros(skeletons.of["stage2_block2_project"].shape))
    assert not skeletons.live()["stage2_block2_expand"].any()
    gone = sum(count for name, count in cost.layer_macs(dense).items() if name.startswith("stage2_block2_"))
    assert skeletons.macs() == cost.macs(dense) - gone


def test_a_layer_that_is_called_twice_counts_twice_and_stays_dense(tmp_path):
    dense = shared()
    graph, model = ChannelGraph(dense), to_training(dense, "float32")
    skeletons = Skeletons(graph, model, from_norms=True)
    assert skeletons.macs() == cost.macs(dense)
    assert skeletons.groups == []
    value = skeletons.of["twice"].numpy()
    value[0, :, :3] = 0
    skeletons.of["twice"].assign(value)
    # Nine stripes of the shared convolution, at both calls.
    assert skeletons.macs() == cost.macs(dense) - 2 * 64 * 9 * 5
    assert set(rebuild.fastest_forms(rebuild.folded(model, skeletons), tmp_path)["forms"]) == set()
