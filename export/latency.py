"""How long a `.tflite` takes: LiteRT, batch 1, one thread unless said otherwise."""

import dataclasses
import pathlib
import time
from collections.abc import Mapping

import numpy as np

from secateur.export.tflite import LiteModel

RUNS_PER_ROUND = 10


@dataclasses.dataclass(frozen=True)
class Latency:
    """Milliseconds per picture: median, 10th and 90th percentile of `runs` runs on `threads` threads."""

    median: float
    p10: float
    p90: float
    threads: int
    runs: int


def measure(
    paths: Mapping[str, pathlib.Path | str], threads: int = 1, rounds: int = 30, seconds: float = 20.0
) -> dict[str, Latency]:
    """Time several files against each other.

    They take turns, ten runs each, so that a machine that slows down slows all of them: ratios hold where absolute
    figures do not.

    Args:
        paths: name to file.
        rounds: turns per file; at most.
        seconds: after which no further round begins, three rounds at least.
    """
    models = {name: LiteModel(path, threads) for name, path in paths.items()}
    times: dict[str, list[float]] = {name: [] for name in paths}
    generator = np.random.default_rng(0)
    for model in models.values():
        model.fill(generator)
        _turn(model)  # the first ones find cold caches
    begin = time.monotonic()
    for k in range(rounds):
        if k >= 3 and time.monotonic() - begin > seconds:
            break
        for name, model in models.items():
            times[name] += _turn(model)
    return {name: _summary(found, threads) for name, found in times.items()}


def _turn(model: LiteModel) -> list[float]:
    model.run()  # brings the weights back into the cache
    found = []
    for _ in range(RUNS_PER_ROUND):
        begin = time.perf_counter()
        model.run()
        found.append(1e3 * (time.perf_counter() - begin))
    return found


def _summary(times: list[float], threads: int) -> Latency:
    p10, median, p90 = np.percentile(times, (10, 50, 90))
    return Latency(float(median), float(p10), float(p90), threads, len(times))
