import xml.etree.ElementTree as ET

import pytest

from secateur.utils.charts import COLOURS
from secateur.utils.scatter import Point, pareto, scatter_svg

SVG = "{http://www.w3.org/2000/svg}"
POINTS = [Point("dense", 40, 0.9), Point("good", 20, 0.88), Point("worse", 20, 0.85), Point("beaten", 30, 0.87)]


def test_the_front_is_what_nothing_beats():
    assert [point.name for point in pareto(POINTS)] == ["good", "dense"]
    assert pareto([]) == []
    assert [point.name for point in pareto([Point("a", 1, 1), Point("b", 1, 1)])] == ["a"]


def test_points_lie_where_their_values_say_and_the_front_is_coloured():
    root = ET.fromstring(scatter_svg("a & b", POINTS, "cost", "quality"))
    circles = [(float(c.get("cx")), float(c.get("cy")), c.get("fill")) for c in root.iter(f"{SVG}circle")]
    dense, good, worse, beaten = circles
    assert good[0] == worse[0] < beaten[0] < dense[0]
    assert dense[1] < good[1] < beaten[1] < worse[1]  # the picture's y grows downwards
    assert [circle[2] == COLOURS[0] for circle in circles] == [True, True, False, False]
    (line,) = root.iter(f"{SVG}polyline")
    assert len(line.get("points").split()) == 2


def test_one_point_is_drawn_and_none_is_refused():
    assert "<circle" in scatter_svg("t", POINTS[:1], "x", "y")
    with pytest.raises(ValueError, match="t: no points"):
        scatter_svg("t", [], "x", "y")
