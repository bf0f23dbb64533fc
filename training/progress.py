"""A progress bar on a terminal, plain lines in a log."""

import sys
import time

from tqdm import tqdm

LINE_SECONDS = 15.0


class Progress:
    """Steps done, the latest metrics and the time that is left.

    On a terminal a bar that rewrites itself; elsewhere one plain line every 15 seconds and one at the end, so that a
    log file stays readable.
    """

    def __init__(self, stage: str, first: int, total: int):
        self.stage, self.total = stage, total
        self._first, self._begin = first, time.monotonic()
        self._next_line = self._begin + LINE_SECONDS
        self._bar = tqdm(desc=stage, initial=first, total=total, disable=not sys.stderr.isatty(), dynamic_ncols=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def step(self) -> None:
        """One more step is done."""
        self._bar.update()

    def advance(self, done: int, metrics: dict[str, float]) -> None:
        """`done` steps are done, with these metrics."""
        self._bar.update(done - self._bar.n)
        self.show(done, metrics)

    def show(self, done: int, metrics: dict[str, float]) -> None:
        """Display the metrics after `done` steps."""
        text = " ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self._bar.set_postfix_str(text, refresh=False)
        if not self._bar.disable:
            return
        now = time.monotonic()
        if now < self._next_line and done < self.total:
            return
        self._next_line = now + LINE_SECONDS
        left = (now - self._begin) / max(done - self._first, 1) * (self.total - done)
        print(f"{self.stage}: {done}/{self.total} {text} ETA {left:.0f} s", file=sys.stderr, flush=True)
