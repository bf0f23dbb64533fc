"""The frame of an SVG picture."""

import html
from collections.abc import Iterable


def picture(
    title: str, width: float, height: float, parts: Iterable[str], font_size: int = 12, left: int | None = 60
) -> str:
    """A whole picture on white with its title; on nothing and without, to be read in a page, where `left` is None.

    Args:
        left: where the title begins.
    """
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="{font_size}" role="img" aria-label="{html.escape(title, quote=True)}">'
    )
    ground = [] if left is None else [f'<rect width="{width}" height="{height}" fill="white"/>', _title(title, left)]
    return "\n".join([head, *ground, *parts, "</svg>\n"])


def _title(title: str, left: int) -> str:
    return f'<text x="{left}" y="22" font-size="14" font-weight="bold">{html.escape(title)}</text>'
