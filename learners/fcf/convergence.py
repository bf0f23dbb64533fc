"""Whether the scalars became binary: logged while they train, drawn afterwards, checked at the end."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from secateur.learners.fcf import ops
from secateur.learners.fcf.admm import AdmmState
from secateur.training.run import Run
from secateur.utils.charts import lines_svg
from secateur.utils.errors import RunError

STAGE = "admm"
# What is logged, to the file and the title of its picture.
PICTURES = {
    "distance": ("scalars.svg", "Largest distance of a scalar to 0 or 1"),
    "kept": ("kept.svg", "Scalars nearer to 1 than to 0"),
}
# How far from 0 and 1 a scalar may be at the end; what the released code rounds.
TOLERANCE = 0.1


def log(run: Run, names: Sequence[str], state: AdmmState, step: int) -> None:
    """One line of metrics: the distance to {0, 1} and the number of live scalars of each row."""
    far = np.asarray(ops.distance_to_binary(state.v.value, state.mask))
    live = (state.v.numpy() > 0.5).sum(axis=1)
    run.log(STAGE, step, {f"distance/{name}": float(d) for name, d in zip(names, far, strict=True)})
    run.log(STAGE, step, {f"kept/{name}": float(n) for name, n in zip(names, live, strict=True)})


def charts(run: Run) -> dict[str, str]:
    """SVG pictures of what was logged of each row over the steps, by the names of their files; none without any."""
    path = run.directory / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    entries = [json.loads(line) for line in lines]
    series = {kind: _rows(entries, f"{kind}/") for kind in PICTURES}
    return {
        file: lines_svg(title, series[kind], "step", "in each row")
        for kind, (file, title) in PICTURES.items()
        if series[kind]
    }


def _rows(entries: Sequence[dict], kind: str) -> dict[str, list[tuple[float, float]]]:
    """Row to its (step, value) points."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for entry in entries:
        for key in (key for key in entry if key.startswith(kind)):
            rows.setdefault(key.removeprefix(kind), []).append((entry["step"], entry[key]))
    return rows


def refuse_undecided(names: Sequence[str], counts: Mapping[str, int], state: AdmmState) -> None:
    """Check that every scalar is 0 or 1 and that as many are 1 as planned.

    Raises:
        RunError: names the row and what to change.
    """
    far = np.asarray(ops.distance_to_binary(state.v.value, state.mask))
    for name, distance, kept in zip(names, far, state.kept(), strict=True):
        if distance > TOLERANCE or len(kept) != counts[name]:
            raise RunError(
                f"{name}: after {int(state.steps)} steps a scalar is {distance:.2f} away from 0 and 1, and {len(kept)} "
                f"of them are near 1 instead of {counts[name]}: give more --fcf_nb_epochs, a smaller "
                "--fcf_rho_share or, if the loss outweighs the constraints, an --fcf_alpha nearer to 1"
            )
