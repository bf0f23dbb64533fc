"""A channel graph for people: as a table, and as an SVG picture."""

import html
import math
from collections.abc import Mapping, Sequence

from secateur.pruning.groups import ChannelGroup
from secateur.utils.svg import picture

ROW, LEFT, UNIT, WIDTH = 26, 240, 36, 1100
# Of the groups that a line of `reasons` names.
NB_REASONS = 3


def table(groups: Mapping[str, ChannelGroup]) -> str:
    """One line for each group: its width, who makes and reads its channels, whether they can go and why not."""
    rows = [("group", "channels", "made by", "read by", "between", "prunable")]
    rows += [
        (
            g.name,
            str(g.size),
            _few(g.producers),
            _few(g.consumers),
            str(len(g.members)),
            "yes" if g.prunable else f"no: {g.reason}",
        )
        for g in groups.values()
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def reasons(groups: Mapping[str, ChannelGroup]) -> str:
    """Why channels stay, in one line: the first few groups that cannot be pruned."""
    found = [f"{group.name} ({group.reason})" for group in groups.values() if not group.prunable]
    more = [f"{len(found) - NB_REASONS} more"] if len(found) > NB_REASONS else []
    stay = f"must stay: {', '.join([*found[:NB_REASONS], *more])}; " if found else ""
    return f"{stay}ChannelGraph(model).summary() lists all groups"


def svg(groups: Mapping[str, ChannelGroup], title: str) -> str:
    """A bar for each group, as long as the logarithm of its width: green where channels can go, grey where they stay.

    The layers, and the reason why channels stay, show when the pointer rests on a bar.
    """
    height = ROW * (len(groups) + 2)
    parts = [_bar(group, ROW * (k + 1)) for k, group in enumerate(groups.values())]
    return picture(title, WIDTH, height, parts, font_size=13, left=10)


def _bar(group: ChannelGroup, top: int) -> str:
    length = UNIT * (1 + math.log2(group.size))
    tip = f"{group.name}: made by {', '.join(group.producers)}; read by {', '.join(group.consumers) or 'nothing'}"
    tip += "" if group.prunable else f"; they stay: {group.reason}"
    fill = "#4c9f70" if group.prunable else "#b0b0b0"
    label = f"{group.size} from {_few(group.producers)} to {_few(group.consumers) or 'the output'}"
    return (
        f"<g><title>{html.escape(tip)}</title>"
        f'<text x="10" y="{top + 17}">{html.escape(group.name)}</text>'
        f'<rect x="{LEFT}" y="{top + 3}" width="{length:.0f}" height="{ROW - 6}" rx="3" fill="{fill}"/>'
        f'<text x="{LEFT + length + 8:.0f}" y="{top + 17}" fill="#333">{html.escape(label)}</text></g>'
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} more"
