import xml.etree.ElementTree as ElementTree

from secateur.pruning import ChannelGraph
from tests.pruning import networks


def test_every_group_has_a_line_with_its_reason():
    lines: list[str] = []
    graph = ChannelGraph(networks.residual())
    graph.summary(lines.append)
    header, *rows = lines[0].splitlines()
    assert header.split() == ["group", "channels", "made", "by", "read", "by", "between", "prunable"]
    assert [row.split()[0] for row in rows] == list(graph.groups)
    assert [row.split()[1] for row in rows] == [str(group.size) for group in graph.groups.values()]
    assert rows[-1].endswith("no: they reach an output of the model")
    assert rows[0].endswith("yes")
    assert "one_conv2 and 3 more" in lines[0]


def test_picture_is_well_formed_and_tells_the_layers():
    graph = ChannelGraph(networks.residual())
    root = ElementTree.fromstring(graph.svg())
    space = "{http://www.w3.org/2000/svg}"
    tips = [title.text for title in root.iter(f"{space}title")]
    assert len(tips) == len(graph.groups)
    assert tips[0] == "stem: made by stem; read by one_conv1, one_shortcut"
    assert tips[-1].endswith("they stay: they reach an output of the model")
    bars = [float(rect.get("width")) for rect in root.iter(f"{space}rect")][1:]
    sizes = [group.size for group in graph.groups.values()]
    assert sorted(range(len(bars)), key=bars.__getitem__) == sorted(range(len(bars)), key=sizes.__getitem__)
