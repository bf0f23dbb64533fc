"""Widths step by step from the full network down: each time the narrowing that saves most time for what it loses."""

import bisect
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from secateur.pruning.widths import Family, Widths

# Of the shares at which a family is asked how wide it leaves each group.
NB_SHARES = 200
# Widths between which the descent chooses, for each group.
NB_LEVELS = 8
# Kernels of LiteRT compute 16 channels at once; narrower groups have finer levels.
COARSEST = 16


def levels_of(size: int, multiple: int | None) -> list[int]:
    """At most `NB_LEVELS` widths of a group, rising, the last one its size.

    Args:
        multiple: all but the last are multiples of it; None: of a power of two that suits the size, 16 at most.
    """
    if multiple is None:
        multiple = min(COARSEST, 2 ** max(0, int(math.log2(size / NB_LEVELS)))) if size >= NB_LEVELS else 1
    steps = (round(size * k / NB_LEVELS / multiple) * multiple for k in range(1, NB_LEVELS))
    return sorted({width for width in steps if 0 < width < size} | {size})


def shares_of(family: Family, levels: Mapping[str, Sequence[int]]) -> dict[str, dict[int, float]]:
    """By group and level the smallest share at which a family leaves the group as wide as that.

    Levels that the family never reaches are left out.
    """
    shares = np.linspace(1 / NB_SHARES, 1.0, NB_SHARES)
    plans = [family(float(share)) for share in shares]
    found: dict[str, dict[int, float]] = {}
    for name, widths in levels.items():
        reached = np.maximum.accumulate([plan[name] for plan in plans])
        first = {width: int(bisect.bisect_left(reached.tolist(), width)) for width in widths}
        found[name] = {width: float(shares[k]) for width, k in first.items() if k < NB_SHARES}
    return found


def descent(
    shares: Mapping[str, Mapping[int, float]], milliseconds: Callable[[str, Sequence[Widths]], Sequence[float]]
) -> list[tuple[Widths, float]]:
    """All plans from the widest down, with the time that each saves.

    A group that goes from share a to share b of the family loses log(a / b): halving any group is equally bad. Times
    rise in steps, so each step may pass over levels.

    Args:
        shares: by group and level (`shares_of`).
        milliseconds: of a group and plans, what the layers take that the group touches (`LatencyTable`).
    """
    plan = {name: max(levels) for name, levels in shares.items()}
    plans: list[tuple[Widths, float]] = [(dict(plan), 0.0)]
    gains = {name: _gains(name, plan, shares[name], milliseconds) for name in shares}
    while any(gains.values()):
        name = max(gains, key=lambda group: max((gain for gain, _, _ in gains[group]), default=-math.inf))
        _, width, saved = max(gains[name])
        if saved <= 0:
            break
        plan[name] = width
        plans.append((dict(plan), plans[-1][1] + saved))
        gains = {group: _gains(group, plan, shares[group], milliseconds) for group in shares}
    return plans


def _gains(
    name: str,
    plan: Mapping[str, int],
    levels: Mapping[int, float],
    milliseconds: Callable[[str, Sequence[Widths]], Sequence[float]],
) -> list[tuple[float, int, float]]:
    """(Time saved for what is lost, width, time saved) of every narrower level of a group."""
    narrower = [width for width in levels if width < plan[name]]
    now, *times = milliseconds(name, [plan, *(dict(plan) | {name: width} for width in narrower)])
    found = []
    for width, time in zip(narrower, times, strict=True):
        loss = math.log(levels[plan[name]] / levels[width])
        found.append(((now - time) / max(loss, 1e-9), width, now - time))
    return found
