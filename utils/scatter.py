"""Points with names and their Pareto front as SVG text."""

import html
from collections.abc import Sequence
from typing import NamedTuple

from secateur.utils.charts import COLOURS, axes_of, place_of
from secateur.utils.svg import picture

WIDTH, HEIGHT = 760, 420


class Point(NamedTuple):
    """A model: what it costs and how good it is."""

    name: str
    cost: float
    quality: float


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in cost and quality at once, from the cheapest to the best."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.quality)):
        if not found or point.quality > found[-1].quality:
            found.append(point)
    return found


def scatter_svg(title: str, points: Sequence[Point], x_label: str, y_label: str) -> str:
    """Quality over cost, the Pareto front as a line; names show beside the points.

    Raises:
        ValueError: no points.
    """
    if not points:
        raise ValueError(f"{title}: no points to draw")
    spans = _span([p.cost for p in points]), _span([p.quality for p in points])
    front = pareto(points)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place_of(p.cost, p.quality, *spans, HEIGHT) for p in front))
    parts = [
        *axes_of(*spans, x_label, y_label, HEIGHT),
        f'<polyline points="{line}" fill="none" stroke="{COLOURS[0]}" stroke-width="1.5"/>',
    ]
    for point in points:
        x, y = place_of(point.cost, point.quality, *spans, HEIGHT)
        colour = COLOURS[0] if point in front else "#9a9a9a"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 7:.1f}" y="{y + 4:.1f}" fill="#333">{html.escape(point.name)}</text>')
    return picture(title, WIDTH, HEIGHT, parts)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """A little wider than the values, so that no point lies on an axis."""
    margin = 0.06 * (max(values) - min(values)) or 0.06 * abs(values[0]) or 1.0
    return min(values) - margin, max(values) + margin
