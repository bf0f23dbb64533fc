"""Which channels fire for which class, and how much each picture costs."""

import html
from collections.abc import Mapping, Sequence

import numpy as np

from secateur.utils.svg import picture

CELL, LEFT, TOP, WIDTH = 7, 150, 40, 1000
BARS, BAR_HEIGHT = 40, 200


def fired_svg(fired: Mapping[str, np.ndarray], labels: Sequence[str]) -> str:
    """A block for each gate: a row for each class, a column for each channel, darker where it fires more often.

    Args:
        fired: gate to shares [K, C]; blocks wider than the picture are cut.
        labels: class names, [K]; more than 20 classes are shown without names.
    """
    names = labels if len(labels) <= 20 else [""] * len(labels)
    height = TOP + len(fired) * (len(labels) + 3) * CELL
    parts = []
    for k, (gate, shares) in enumerate(fired.items()):
        top = TOP + k * (len(labels) + 3) * CELL
        parts.append(f'<text x="4" y="{top + CELL}" font-weight="bold">{html.escape(gate)}</text>')
        for row, (label, values) in enumerate(zip(names, shares, strict=True)):
            y = top + (row + 1) * CELL
            parts.append(f'<text x="{LEFT - 4}" y="{y + CELL - 1}" text-anchor="end">{html.escape(label)}</text>')
            parts += [
                f'<rect x="{LEFT + column * CELL}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" fill="#1f6f43" '
                f'fill-opacity="{value:.2f}"/>'
                for column, value in enumerate(values[: (WIDTH - LEFT) // CELL])
            ]
    return picture("Which channels fire for which class", WIDTH, height, parts, font_size=7, left=8)


def histogram_svg(per_picture: np.ndarray) -> str:
    """How many pictures cost how many multiply-accumulates."""
    counts, edges = np.histogram(per_picture / 1e6, bins=BARS)
    width = (WIDTH - 2 * TOP) / BARS
    parts = []
    for k, number in enumerate(counts):
        tall = BAR_HEIGHT * number / max(counts.max(), 1)
        x, y = TOP + k * width, TOP + BAR_HEIGHT - tall
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width - 1:.1f}" height="{tall:.1f}" fill="#4c9f70"/>')
        if k % 8 == 0:
            parts.append(f'<text x="{x:.1f}" y="{TOP + BAR_HEIGHT + 14}">{edges[k]:.1f}</text>')
    height = BAR_HEIGHT + 2 * TOP
    return picture("Multiply-accumulates per picture, millions", WIDTH, height, parts, font_size=7, left=8)
