"""The learned shapes of filters as a picture."""

import html
from collections.abc import Mapping

import numpy as np

from secateur.learners.stripe import ops
from secateur.utils.svg import picture

CELL, GAP, LEFT, ROW, COLUMNS = 26, 14, 14, 118, 8


def shapes_svg(skeletons: Mapping[str, np.ndarray]) -> str:
    """A square for each position of each layer's kernel, darker where more filters keep it, with the share in percent.

    Args:
        skeletons: [K, K, O] by layer.
    """
    width = LEFT + COLUMNS * (3 * CELL + GAP + 40)
    height = 40 + ROW * -(-len(skeletons) // COLUMNS)
    parts = []
    for k, (name, skeleton) in enumerate(skeletons.items()):
        left, top = LEFT + (k % COLUMNS) * (3 * CELL + GAP + 40), 44 + ROW * (k // COLUMNS)
        parts.append(f'<text x="{left}" y="{top}" fill="#333">{html.escape(name)}</text>')
        parts += _cells(ops.survival([skeleton]), left, top + 6)
    return picture("How often each position of the kernel lives", width, height, parts, font_size=9, left=LEFT)


def _cells(shares: np.ndarray, left: int, top: int) -> list[str]:
    size = 3 * CELL / max(shares.shape)
    found = []
    for (row, column), share in np.ndenumerate(shares):
        x, y = left + column * size, top + row * size
        ink = "white" if share > 0.5 else "#222"
        found.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{size - 1:.1f}" height="{size - 1:.1f}" fill="#1f6f43" '
            f'fill-opacity="{share:.2f}" stroke="#ddd"/><text x="{x + size / 2:.1f}" y="{y + size / 2 + 3:.1f}" '
            f'text-anchor="middle" fill="{ink}">{100 * share:.0f}</text>'
        )
    return found
