import re
import xml.etree.ElementTree as ET

import pytest

from secateur.utils.charts import COLOURS, lines_svg


def test_every_series_has_a_line_and_a_name():
    series = {f"layer {k} <&>": [(0, 1.0), (5, 0.5), (10, k / 10)] for k in range(len(COLOURS) + 1)}
    root = ET.fromstring(lines_svg('a "title"', series, "step", "distance"))
    lines = root.findall("{*}polyline")
    assert len(lines) == len(series)
    assert lines[0].get("stroke") == lines[len(COLOURS)].get("stroke")
    texts = [text.text for text in root.findall("{*}text")]
    assert {*series, 'a "title"', "step", "distance"} <= set(texts)


def test_many_names_stay_on_the_picture():
    series = {f"layer {k}": [(0, 1.0), (5, 0.5)] for k in range(108)}
    root = ET.fromstring(lines_svg("t", series, "x", "y"))
    height = float(root.get("viewBox").split()[3])
    assert max(float(text.get("y")) for text in root.findall("{*}text")) < height
    assert max(float(line.get("y2")) for line in root.findall("{*}line")) < height


def test_points_are_to_scale():
    svg = lines_svg("t", {"a": [(0, 0.0), (5, 1.0), (10, 2.0)]}, "x", "y")
    points = re.search(r'points="([^"]+)"', svg).group(1)
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, point.split(","))) for point in points.split()]
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y0 - y1 == pytest.approx(y1 - y2)
    assert y0 > y2


def test_a_single_point_and_no_points():
    assert "polyline" in lines_svg("t", {"a": [(3, 0.0)]}, "x", "y")
    with pytest.raises(ValueError, match="t: no points to draw"):
        lines_svg("t", {"a": []}, "x", "y")
