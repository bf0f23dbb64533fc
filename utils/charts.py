"""Line charts as SVG text that opens anywhere."""

import html
from collections.abc import Mapping, Sequence

from secateur.utils.svg import picture

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 320, 60, 180, 40, 40
# Of a name beside its line.
ROW = 14
NB_TICKS = 5
COLOURS = ("#4c9f70", "#c8553d", "#3d6fc8", "#8a5fbf", "#b8902f", "#2f9fb8", "#b04f86", "#6b6b6b")

Points = Sequence[tuple[float, float]]
Span = tuple[float, float]


def lines_svg(title: str, series: Mapping[str, Points], x_label: str, y_label: str, from_zero: bool = True) -> str:
    """One line for each series of (x, y) points, its name beside; the picture grows with the number of names.

    Args:
        from_zero: whether the axis of the values begins at 0, or at the least value.

    Raises:
        ValueError: no points at all.
    """
    everything = [point for points in series.values() for point in points]
    if not everything:
        raise ValueError(f"{title}: no points to draw")
    xs, ys = zip(*everything, strict=True)
    x_range, y_range = (min(xs), max(xs)), (min([0.0, *ys] if from_zero else ys), max(ys) or 1.0)
    height = max(HEIGHT, TOP + ROW * (len(series) + 1))
    parts = axes_of(x_range, y_range, x_label, y_label, height)
    for k, (name, points) in enumerate(series.items()):
        places = [place_of(x, y, x_range, y_range, height) for x, y in points]
        parts.append(_line(name, places, COLOURS[k % len(COLOURS)], TOP + ROW * (k + 1)))
    return picture(title, WIDTH, height, parts, left=LEFT)


def place_of(x: float, y: float, x_range: Span, y_range: Span, height: int = HEIGHT) -> tuple[float, float]:
    """Where a point lies on the picture."""
    return _place(x, x_range, LEFT, WIDTH - RIGHT), _place(y, y_range, height - BOTTOM, TOP)


def _place(value: float, span: Span, first: float, last: float) -> float:
    share = (value - span[0]) / ((span[1] - span[0]) or 1.0)
    return first + share * (last - first)


def axes_of(x_range: Span, y_range: Span, x_label: str, y_label: str, height: int = HEIGHT) -> list[str]:
    """Lines, figures and names of both axes."""
    parts = []
    for k in range(NB_TICKS):
        x_value, y_value = (low + (high - low) * k / (NB_TICKS - 1) for low, high in (x_range, y_range))
        x, y = place_of(x_value, y_value, x_range, y_range, height)
        parts += [
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{_tick(y_value)}</text>',
            f'<text x="{x:.1f}" y="{height - BOTTOM + 16}" text-anchor="middle" fill="#555">{_tick(x_value)}</text>',
        ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [
        *parts,
        f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{html.escape(x_label)}</text>',
        f'<text x="{LEFT}" y="{TOP - 6}" fill="#555">{html.escape(y_label)}</text>',
    ]


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(name: str, places: Points, colour: str, top: float) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        f'<text x="{WIDTH - RIGHT + 8}" y="{top:.0f}" fill="{colour}">{html.escape(name)}</text>'
    )
