"""Flags of the learner `fbs`."""

import dataclasses
import math
import pathlib

from secateur.learners.fbs.layers import NORMALIZATIONS
from secateur.learners.fbs.structure import SCOPES
from secateur.utils.flags import check_least, check_share, option


@dataclasses.dataclass(frozen=True)
class FbsConfig:
    """Feature boosting and suppression: each picture computes only the channels that matter for it."""

    fbs_density: float = option(0.5, "share of the channels of each convolution that fire, above 0, at most 1")
    fbs_density_step: float = option(0.1, "the density falls from 1 in such steps, with training in between")
    fbs_nb_epochs_step: float | None = option(
        None, "epochs at each density before the last one (default: a twentieth of the fine-tuning)"
    )
    fbs_nb_epochs_warm_up: float | None = option(
        None, "epochs of the predictors alone, before (default: a twentieth of the fine-tuning)"
    )
    fbs_scope: str = option(
        "all",
        "gate every convolution, or only those inside a block: at an addition a channel is live where either side has "
        "it, so gates before it skip less than they take away",
        choices=SCOPES,
    )
    fbs_normalize: str = option(
        "sum",
        "gate with the saliencies relative to their mean, which keeps deep networks finite, or with themselves (paper)",
        choices=NORMALIZATIONS,
    )
    fbs_l1: float = option(1e-8, "factor on the sum of all saliencies")
    fbs_balance: float = option(0.0, "factor on how unevenly the channels win, which brings all of them into use")
    warm_start: str | None = option(
        None, "begin with this .keras file, such as the pruned model of another learner, not with the dense model"
    )

    def __post_init__(self) -> None:
        check_share(self, "a share of the channels", "fbs_density", "fbs_density_step")
        check_least(self, 0, "fbs_nb_epochs_step", "fbs_nb_epochs_warm_up", "fbs_l1", "fbs_balance")
        if self.warm_start is not None and not pathlib.Path(self.warm_start).is_file():
            raise ValueError(f"--warm_start {self.warm_start}: no such file")

    def densities(self) -> list[float]:
        """The steps from below 1 down to the density, which is the last."""
        nb_steps = max(1, math.ceil(round((1 - self.fbs_density) / self.fbs_density_step, 6)))
        steps = [round(1 - k * self.fbs_density_step, 6) for k in range(1, nb_steps)]
        return [*steps, self.fbs_density]
