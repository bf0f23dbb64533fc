"""Which channels fire for which class, and how much each picture costs."""

import html
from collections.abc import Mapping, Sequence

import numpy as np

from secateur.utils.svg import picture

CELL, LEFT, TOP, WIDTH = 7, 150, 40, 1000
BARS, BAR_HEIGHT = 40, 200
# More classes or channels would make a file of hundreds of megabytes for a large network and data set.
MOST_CLASSES, MOST_CHANNELS = 20, (WIDTH - LEFT) // CELL
SHADES = 10


def fired_svg(fired: Mapping[str, np.ndarray], labels: Sequence[str]) -> str:
    """A block for each gate: a row for each class, a column for each channel, darker where it fires more often.

    Args:
        fired: gate to shares [K, C]; of wide ones the first channels are shown.
        labels: class names, [K]; of many classes those are shown that differ most from the mean of all.
    """
    rows = _most_different(fired)
    height = TOP + len(fired) * (len(rows) + 3) * CELL
    parts = []
    for k, (gate, shares) in enumerate(fired.items()):
        top, nb_channels = TOP + k * (len(rows) + 3) * CELL, shares.shape[1]
        cut = f", first {MOST_CHANNELS} of {nb_channels} channels" if nb_channels > MOST_CHANNELS else ""
        parts.append(f'<text x="4" y="{top + CELL}" font-weight="bold">{html.escape(gate)}{cut}</text>')
        for row, number in enumerate(rows):
            y = top + (row + 2) * CELL - 1
            parts.append(f'<text x="{LEFT - 4}" y="{y}" text-anchor="end">{html.escape(labels[number])}</text>')
        parts += _shades(shares[rows, :MOST_CHANNELS], top + CELL)
    which = f" ({len(rows)} of {len(labels)}, those that differ most)" if len(rows) < len(labels) else ""
    return picture(f"Which channels fire for which class{which}", WIDTH, height, parts, font_size=7, left=8)


def _most_different(fired: Mapping[str, np.ndarray]) -> list[int]:
    """The numbers of the classes for which other channels fire than for most, in their order."""
    far = np.sum([np.square(shares - shares.mean(axis=0)).mean(axis=1) for shares in fired.values()], axis=0)
    return sorted(np.argsort(-far, kind="stable")[:MOST_CLASSES].tolist())


def _shades(shares: np.ndarray, top: int) -> list[str]:
    """The cells [rows, columns] of a block: one path for each shade, much shorter than a cell each."""
    shades = np.rint(shares * SHADES).astype(int)
    paths = []
    for shade in range(1, SHADES + 1):
        cells = "".join(f"M{LEFT + x * CELL} {top + y * CELL}h6v6h-6z" for y, x in np.argwhere(shades == shade))
        if cells:
            paths.append(f'<path d="{cells}" fill="#1f6f43" fill-opacity="{shade / SHADES:g}"/>')
    return paths


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
