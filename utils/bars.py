"""Bar charts as SVG text, for pages in light and dark."""

import html
from collections.abc import Mapping, Sequence

from secateur.utils.svg import picture

ROW, LABEL, WIDTH, VALUE = 16, 210, 720, 90
GREY, GREEN = "#9a9a9a", "#4c9f70"


def pairs_svg(title: str, rows: Mapping[str, Sequence[float | None]], unit: str) -> str:
    """Two bars for each row, before (grey) and after (green); a value that is None has no bar.

    Args:
        rows: label to (before, after), 0 or more.
        unit: written behind the values.
    """
    most = max((value or 0.0 for values in rows.values() for value in values), default=0.0) or 1.0
    height = 2 * ROW * len(rows) + 8
    parts = []
    for k, (label, values) in enumerate(rows.items()):
        top = 2 * ROW * k
        parts.append(f'<text x="4" y="{top + ROW + 4}" fill="currentColor">{html.escape(_short(label))}</text>')
        for row, (value, colour) in enumerate(zip(values, (GREY, GREEN), strict=True)):
            if value is not None:
                parts.append(_bar(value, value / most, top + row * (ROW - 3) + 3, colour, unit))
    return picture(title, WIDTH, height, parts, font_size=11, left=None)


def _bar(value: float, share: float, top: int, colour: str, unit: str) -> str:
    length = max(share * (WIDTH - LABEL - VALUE), 1.0)
    return (
        f'<rect x="{LABEL}" y="{top}" width="{length:.1f}" height="{ROW - 5}" fill="{colour}"/>'
        f'<text x="{LABEL + length + 5:.1f}" y="{top + ROW - 6}" fill="currentColor">{_number(value)} {unit}</text>'
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _short(label: str) -> str:
    return label if len(label) <= 32 else f"{label[:15]}…{label[-16:]}"
