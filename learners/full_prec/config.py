"""Flags of the learner `full-prec`: it has none of its own."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class FullPrecConfig:
    """Training at full precision and full width; everything it needs stands in the task's recipe."""
