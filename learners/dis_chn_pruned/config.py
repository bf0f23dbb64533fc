"""Flags of the learner `dis-chn-pruned`."""

import dataclasses

from secateur.pruning.widths import multiple_of
from secateur.utils.flags import check_above_zero, check_least, option

SCOPES = ("block", "all")


@dataclasses.dataclass(frozen=True)
class DisChnPrunedConfig:
    """Discrimination-aware channel pruning."""

    dcp_prune_ratio: float = option(0.5, "share of the input channels of each convolution to remove, 0 to 1")
    dcp_nb_stages: int | None = option(
        None,
        "number of pruning stages with a discrimination-aware loss; one more uses the final loss (default: 3, or as "
        "many as the network has places for)",
    )
    dcp_nb_iters_block: int | None = option(
        None, "steps of block-wise fine-tuning per stage (default: the task's recipe)"
    )
    dcp_nb_iters_layer: int | None = option(
        None, "steps of layer-wise fine-tuning per layer, spread over its picks (default: the task's recipe)"
    )
    dcp_lrn_rate_adam: float = option(1e-3, "Adam's learning rate of block-wise and layer-wise fine-tuning")
    dcp_selection: str = option(
        "add",
        "begin without input channels and add the one with the largest gradient, begin with all and remove the one "
        "with the smallest, or add at random (to compare)",
        choices=("add", "remove", "random"),
    )
    dcp_scope: str = option(
        "block",
        "prune what the convolutions inside a block read, or also the residual stream, so that every convolution's "
        "input is pruned",
        choices=SCOPES,
    )
    dcp_loss: str = option(
        "both",
        "what ranks and tunes the channels: reconstruction plus discrimination loss, or one of them (to compare)",
        choices=("both", "reconstruction", "discrimination"),
    )
    dcp_adaptive_eps: float | None = option(
        None,
        "add channels until one more changes the loss by less than this share of the loss without any; the ratio is "
        "then an outcome of each layer",
    )
    dcp_nb_smpls: int = option(2560, "training pictures whose layer inputs are kept in memory for the selection")
    dcp_save_path: str | None = option(
        None, "where stages and checkpoints of the pruning lie (default: the run's folder)"
    )
    dcp_save_path_eval: str | None = option(None, "as --save_path_eval")
    channel_multiple: str = option(
        "1",
        "round the number of kept channels up to a multiple of this; 1 keeps the ratio exact; auto: the multiple that "
        "LiteRT runs fastest at the same MACs",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.dcp_prune_ratio <= 1:
            raise ValueError(
                f"--dcp_prune_ratio {self.dcp_prune_ratio}: must be 0 to 1, the share of channels to remove"
            )
        check_least(self, 0, "dcp_nb_stages", "dcp_nb_iters_block", "dcp_nb_iters_layer")
        check_least(self, 1, "dcp_nb_smpls")
        check_above_zero(self, "dcp_lrn_rate_adam")
        multiple_of(self.channel_multiple)
        self._check_adaptive()

    def _check_adaptive(self) -> None:
        if self.dcp_adaptive_eps is None:
            return
        if self.dcp_adaptive_eps <= 0:
            raise ValueError(f"--dcp_adaptive_eps {self.dcp_adaptive_eps}: must be above 0; .001 is the paper's")
        if self.dcp_selection != "add":
            raise ValueError(
                f"--dcp_adaptive_eps stops when adding a channel gains little: --dcp_selection {self.dcp_selection} "
                "must be add"
            )
        if self.channel_multiple == "auto":
            raise ValueError("--channel_multiple auto needs a ratio: give a number, or leave out --dcp_adaptive_eps")
