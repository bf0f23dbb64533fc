import numpy as np
import pytest
import tensorflow as tf

from secateur.learners.chn_pruned import ops
from secateur.learners.chn_pruned.sensitivity import scan, sensitivity_widths
from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph, mask
from secateur.training.task import cross_entropy

NAMES = [f"stage{k}_block1_conv1" for k in (1, 2, 3)]


@pytest.fixture
def graph(randomise):
    return ChannelGraph(randomise(resnet((8, 8, 1), 3, 8, (4, 10, 12))))


@pytest.fixture
def batches():
    generator = np.random.default_rng(0)
    images = generator.uniform(0, 255, (2, 8, 8, 8, 1)).astype(np.float32)
    return [(tf.constant(x), tf.constant(generator.integers(0, 3, 8), tf.int32)) for x in images]


def test_rises_are_those_of_the_masked_model_and_weights_come_back(graph, batches):
    scores = {name: np.random.default_rng(1).random(graph.groups[name].size) for name in NAMES}
    before = graph.model.get_weights()
    seen = []
    found = scan(graph, scores, cross_entropy, batches, lambda done, rise: seen.append(done))
    assert seen == [1, 2, 3]
    assert all(np.array_equal(a, b) for a, b in zip(before, graph.model.get_weights(), strict=True))
    assert [width for width, _ in found[NAMES[1]]] == list(range(1, 11))

    def loss(model):
        return np.mean([float(cross_entropy(y, model(x, training=False))) for x, y in batches])

    width, rise = found[NAMES[1]][4]
    masked = mask(graph, {NAMES[1]: ops.best(scores[NAMES[1]], width)})
    assert rise == pytest.approx(loss(masked) - loss(graph.model), abs=1e-4)
    assert found[NAMES[2]][-1] == (12, 0.0)


def test_a_group_that_bears_more_becomes_narrower():
    found = {"robust": [(1, 0.1), (2, 0.05), (4, 0.0)], "delicate": [(1, 3.0), (2, 1.0), (4, 0.0)]}
    assert sensitivity_widths(found, 0.0) == {"robust": 1, "delicate": 1}
    assert sensitivity_widths(found, 0.4) == {"robust": 1, "delicate": 4}
    assert sensitivity_widths(found, 1.0) == {"robust": 4, "delicate": 4}
    sums = [sum(sensitivity_widths(found, share).values()) for share in np.linspace(0, 1, 11)]
    assert sums == sorted(sums)
