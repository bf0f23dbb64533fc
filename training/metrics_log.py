"""What a run reports: lines of JSON in metrics.jsonl, and the same scalars as TensorBoard events."""

import json
import pathlib

from secateur.training.events import EventWriter
from secateur.utils.files import write_atomically


class MetricsLog:
    """The metrics of a run; metrics.jsonl is without those of steps that a kill took back, the events may repeat them.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: pathlib.Path):
        self._directory = directory
        self._path = directory / "metrics.jsonl"
        self._events: EventWriter | None = None

    def append(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        line = {"stage": stage, "step": step} | metrics
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._events is None:
            self._events = EventWriter(self._directory / "events")
        self._events.write(stage, step, metrics)

    def drop_after(self, stage: str, step: int) -> None:
        """Leave out the lines that a killed run wrote after its last checkpoint: they will be written again."""
        if not self._path.is_file():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _keeps(line, stage, step)]
        if kept != lines:
            write_atomically(self._path, "".join(line + "\n" for line in kept).encode())


def _keeps(line: str, stage: str, step: int) -> bool:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return False  # half a line, cut off by a kill
    return entry["stage"] != stage or entry["step"] <= step
