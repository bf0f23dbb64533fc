import pytest

from secateur.export import widths as timing
from secateur.learners.dis_chn_pruned.config import DisChnPrunedConfig
from secateur.learners.dis_chn_pruned.stages import prunable_groups
from secateur.learners.dis_chn_pruned.widths import planned_widths
from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph
from secateur.pruning.widths import WidthCost
from tests.training.helpers import open_run

NAMES = [f"stage{k}_block1_conv1" for k in (1, 2, 3)]


@pytest.fixture(scope="module")
def network():
    model = resnet((8, 8, 1), 3, 8, (12, 20, 28))
    return model, ChannelGraph(model)


def planned(network, directory, **flags):
    model, graph = network
    groups = prunable_groups(model, graph)
    with open_run(directory).open() as run:
        return planned_widths(model, graph, groups, DisChnPrunedConfig(**flags), run)


@pytest.mark.parametrize(("multiple", "expected"), [("1", [6, 10, 14]), ("8", [8, 16, 16]), ("100", [12, 20, 28])])
def test_number_rounds_up(network, tmp_path, multiple, expected):
    assert list(planned(network, tmp_path, channel_multiple=multiple).values()) == expected


def test_adaptive_may_keep_all(network, tmp_path):
    assert planned(network, tmp_path, dcp_adaptive_eps=0.1) == dict(zip(NAMES, [12, 20, 28], strict=True))


def test_auto_takes_the_fastest_within_the_budget_and_measures_once(network, tmp_path, monkeypatch):
    class Latency:
        def __init__(self, median):
            self.median = median

    seen = []

    def measure(files):
        seen.append(sorted(files))
        assert all(path.is_file() for path in files.values())
        return {name: Latency(1.0 if name == "4" else 2.0) for name in files}

    monkeypatch.setattr(timing, "measure", measure)
    found = planned(network, tmp_path, channel_multiple="auto")
    assert seen == [sorted(["1", "2", "4", "8", "16"])]
    assert all(width % 4 == 0 for width in found.values())
    cost = WidthCost(network[1])
    assert cost.macs(found) <= cost.macs(dict(zip(NAMES, [6, 10, 14], strict=True)))
    assert planned(network, tmp_path, channel_multiple="auto") == found
    assert len(seen) == 1


def test_auto_with_nothing_to_remove_measures_nothing(network, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "measure", lambda *_: pytest.fail("measured"))
    found = planned(network, tmp_path, channel_multiple="auto", dcp_prune_ratio=0.0)
    assert list(found.values()) == [12, 20, 28]
