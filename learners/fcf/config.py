"""Flags of the learner `fcf`."""

import dataclasses

from secateur.pruning.widths import multiple_of
from secateur.utils.flags import check_above_zero, check_least, check_share, option

SCOPES = ("group", "filter")
RANKINGS = ("uniform", "global")
SOLVERS = ("bisection", "osqp")
FORMS = ("fastest", "squeeze")
# Above it the plain gradient step on the scalars overshoots: 2 * rate * alpha * rho < 4 / 3.
STABLE = 4 / 3


@dataclasses.dataclass(frozen=True)
class FcfConfig:
    """Factorized convolutional filters: binary scalars learned together with the weights."""

    fcf_prune_ratio: float = option(0.25, "share of the filters to remove, 0 to below 1, where no target is set")
    fcf_target_macs: float | None = option(None, "instead of a ratio: the share of the MACs that may stay")
    fcf_target_latency: float | None = option(None, "instead of a ratio: the share of the LiteRT time that may stay")
    fcf_scope: str = option(
        "group",
        "one scalar for all filters that make a channel, which gives a plain smaller network, or the paper's one for "
        "each filter, which gives a squeeze-conv-expand form",
        choices=SCOPES,
    )
    fcf_ranking: str = option(
        "uniform",
        "how many filters each layer keeps: the same share, or what one ranking of all filters by mean magnitude gives "
        "(between a tenth and nine tenths)",
        choices=RANKINGS,
    )
    fcf_nb_epochs: float | None = option(None, "epochs of the joint training (default: a quarter of the fine-tuning)")
    fcf_nb_epochs_ft: float | None = option(None, "epochs of fine-tuning (default: the task's recipe)")
    fcf_solver: str = option(
        "bisection", "of the box and count constraint: inside the graph, or the OSQP package", choices=SOLVERS
    )
    fcf_lrn_rate: float = option(0.1, "learning rate of the scalars, plain gradient descent")
    fcf_alpha: float = option(0.65, "weight of the constraints against the loss in the scalars' gradient, 0 to 1")
    fcf_rho_init: float = option(0.01, "penalty at the first step")
    fcf_rho_max: float = option(6.0, "penalty at its highest")
    fcf_rho_share: float = option(0.5, "share of the joint training after which the penalty is highest, 0 to 1")
    fcf_form: str = option(
        "fastest",
        "of --fcf_scope filter: each layer as LiteRT runs it fastest, or all that can be squeezed and expanded as such",
        choices=FORMS,
    )
    channel_multiple: str = option(
        "1",
        "round the number of kept channels up to a multiple of this; auto: the multiple that LiteRT runs fastest at "
        "the same MACs",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.fcf_prune_ratio < 1:
            raise ValueError(f"--fcf_prune_ratio {self.fcf_prune_ratio}: must be 0 to below 1")
        check_share(self, "what may stay", "fcf_target_macs", "fcf_target_latency")
        if self.fcf_target_macs is not None and self.fcf_target_latency is not None:
            raise ValueError("--fcf_target_macs and --fcf_target_latency: choose one target")
        if self.target and self.fcf_scope == "filter":
            raise ValueError("--fcf_scope filter takes a ratio; a target needs --fcf_scope group")
        multiple_of(self.channel_multiple)
        if self.channel_multiple == "auto" and self.fcf_scope == "filter":
            raise ValueError("--channel_multiple auto needs --fcf_scope group: single filters leave no narrower layers")
        self._check_admm()

    def _check_admm(self) -> None:
        check_least(self, 0, "fcf_nb_epochs_ft")
        check_above_zero(self, "fcf_nb_epochs", "fcf_lrn_rate", "fcf_rho_init")
        check_share(self, "the weight of the constraints", "fcf_alpha")
        check_share(self, "a share of the joint training", "fcf_rho_share")
        if self.fcf_rho_max < self.fcf_rho_init:
            raise ValueError(f"--fcf_rho_max {self.fcf_rho_max}: must be at least --fcf_rho_init {self.fcf_rho_init}")
        gain = 2 * self.fcf_lrn_rate * self.fcf_alpha * self.fcf_rho_max
        if gain >= STABLE:
            raise ValueError(
                f"--fcf_lrn_rate {self.fcf_lrn_rate} with --fcf_rho_max {self.fcf_rho_max}: 2 * rate * alpha * rho is "
                f"{gain:.3g}, and from 4/3 on the scalars diverge; lower one of them"
            )

    @property
    def target(self) -> tuple[str, float] | None:
        """The target that was set, such as ("macs", 0.5)."""
        pairs = (("macs", self.fcf_target_macs), ("latency", self.fcf_target_latency))
        return next(((name, share) for name, share in pairs if share is not None), None)
