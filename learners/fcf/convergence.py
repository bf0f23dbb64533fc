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
# How far from 0 and 1 a scalar may be at the end; what the released code rounds.
TOLERANCE = 0.1


def log(run: Run, names: Sequence[str], state: AdmmState, step: int) -> None:
    """One line of metrics: the distance to {0, 1} and the number of live scalars of each row."""
    far = np.asarray(ops.distance_to_binary(state.v.value, state.mask))
    live = (state.v.numpy() > 0.5).sum(axis=1)
    run.log(STAGE, step, {f"distance/{name}": float(d) for name, d in zip(names, far, strict=True)})
    run.log(STAGE, step, {f"kept/{name}": float(n) for name, n in zip(names, live, strict=True)})


def chart(run: Run) -> str:
    """An SVG picture of what was logged: the distance to {0, 1} of each row over the steps; "" without any."""
    path = run.directory / "metrics.jsonl"
    series: dict[str, list[tuple[float, float]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        entry = json.loads(line)
        found = {key: value for key, value in entry.items() if key.startswith("distance/")}
        for key, value in found.items():
            series.setdefault(key.removeprefix("distance/"), []).append((entry["step"], value))
    return lines_svg("Distance of the scalars to 0 or 1", series, "step", "largest in each row") if series else ""


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
                f"of them are near 1 instead of {counts[name]}: give more --fcf_nb_epochs or a smaller --fcf_rho_share"
            )
