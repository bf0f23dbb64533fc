import keras
import pytest

from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph, cost
from secateur.pruning.latency_table import LatencyTable

NAMES = [f"stage1_block{k}_conv1" for k in (1, 2)]


@pytest.fixture
def table():
    """Of a network with two equal blocks, timed by counting; and the networks that were timed."""
    timed = []

    def timer(networks):
        timed.append(list(networks.values()))
        return {name: 1.0 + cost.macs(network) for name, network in networks.items()}

    return LatencyTable(ChannelGraph(resnet((8, 8, 1), 3, 14, (12, 20, 28))), timer), timed


def conv_macs(read, made):
    return 8 * 8 * 9 * read * made


def test_the_layers_of_a_group_at_their_widths(table):
    found = table[0].milliseconds(NAMES[0], [{}, {NAMES[0]: 6}, {NAMES[0]: 6, NAMES[1]: 3}])
    narrow = 2 + conv_macs(12, 6) + conv_macs(6, 12)
    assert found == [2 + 2 * conv_macs(12, 12), narrow, narrow]


def test_equal_layers_are_timed_once_and_nothing_is_timed_again(table):
    latencies, timed = table
    first = latencies.milliseconds(NAMES[0], [{NAMES[0]: 6}])
    assert [len(networks) for networks in timed] == [2]
    assert latencies.milliseconds(NAMES[1], [{NAMES[1]: 6}]) == first
    assert len(timed) == 1


def test_depthwise_layers_are_as_wide_as_what_they_read():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(16, 1, name="expand")(inputs)
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = keras.layers.Conv2D(4, 1, name="project")(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    table = LatencyTable(ChannelGraph(model), lambda networks: {n: cost.macs(m) for n, m in networks.items()})
    assert table.milliseconds("expand", [{"expand": 5}]) == [8 * 8 * (3 * 5 + 9 * 5 + 5 * 4)]


def test_layers_without_entries_cost_nothing():
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(8, 1, name="a")(inputs)
    x = keras.layers.Conv2D(8, 3, groups=4, name="grouped")(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    table = LatencyTable(ChannelGraph(model), lambda networks: dict.fromkeys(networks, 1.0))
    assert table.milliseconds("a", [{}]) == [1.0]
    assert table.milliseconds("grouped", [{}]) == [0]
