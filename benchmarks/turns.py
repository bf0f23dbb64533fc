"""Contenders take turns, so that a machine that slows down slows all of them; ratios of neighbours in time hold."""

import json
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping

from secateur.export import machine_facts

# Name to a function that carries out so many steps.
Contenders = Mapping[str, Callable[[int], None]]


def take_turns(contenders: Contenders, rounds: int, steps: int) -> dict[str, list[float]]:
    """Milliseconds a step of every turn; a first turn of three steps is not counted."""
    for run in contenders.values():
        run(3)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            begin = time.perf_counter()
            run(steps)
            times[name].append(1e3 * (time.perf_counter() - begin) / steps)
    return times


def times_as_fast(mine: list[float], other: list[float]) -> float:
    """The median ratio of neighbouring turns, not of the medians: what slows one slows the other."""
    return statistics.median(b / a for a, b in zip(mine, other, strict=True))


def show(times: Mapping[str, list[float]]) -> dict[str, float]:
    """Print the median of each; and return it."""
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, found in times.items():
        print(f"{name:28} {medians[name]:8.2f} ms a step ({min(found):.2f} to {max(found):.2f})")
    return medians


def write(path: pathlib.Path | None, figures: Mapping) -> None:
    """Write the figures and the machine's facts as JSON, if a file is wanted."""
    if path:
        path.write_text(json.dumps({**figures, "machine": machine_facts()}, indent=2) + "\n")
