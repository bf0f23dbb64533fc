import re

import numpy as np

from secateur.learners.stripe.picture import CELL, shapes_svg


def test_shares_and_bounds_of_each_kernel():
    """A wide kernel takes no more room than a square one."""
    half, wide = np.zeros((3, 3, 2)), np.ones((1, 7, 4))
    half[0, 0, 1] = 1
    drawn = shapes_svg({"half": half, "wide": wide})
    cells = [
        tuple(map(float, found)) for found in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', drawn)
    ]
    square, row = cells[-16:-7], cells[-7:]
    for part in (square, row):
        left = min(x for x, _, _ in part)
        assert max(x + width for x, _, width in part) - left <= 3 * CELL
    assert max(x + width for x, _, width in square) < min(x for x, _, _ in row)
    assert re.findall(r">(\d+)</text>", drawn) == ["50", *["0"] * 8, *["100"] * 7]
