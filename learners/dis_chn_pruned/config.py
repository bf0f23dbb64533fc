"""Flags of the learner `dis-chn-pruned`."""

import dataclasses

from secateur.utils.flags import option


@dataclasses.dataclass(frozen=True)
class DisChnPrunedConfig:
    """Discrimination-aware channel pruning."""

    dcp_prune_ratio: float = option(0.5, "share of the input channels of each convolution to remove, 0 to 1")
    dcp_nb_stages: int = option(
        3, "number of pruning stages with a discrimination-aware loss; one more uses the final loss"
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
        "begin without input channels and add the one with the largest gradient, or begin with all and remove the "
        "one with the smallest",
        choices=("add", "remove"),
    )
    dcp_nb_smpls: int = option(2560, "training pictures whose layer inputs are kept in memory for the selection")
    dcp_save_path: str | None = option(
        None, "where stages and checkpoints of the pruning lie (default: the run's folder)"
    )
    dcp_save_path_eval: str | None = option(None, "folder of the exported pruned model (default: the run's folder)")
    channel_multiple: int = option(
        1, "round the number of kept channels up to a multiple of this; 1 keeps the ratio exact"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.dcp_prune_ratio <= 1:
            raise ValueError(
                f"--dcp_prune_ratio {self.dcp_prune_ratio}: must be 0 to 1, the share of channels to remove"
            )
        if self.dcp_nb_stages < 0:
            raise ValueError(f"--dcp_nb_stages {self.dcp_nb_stages}: must be 0 or more")
        if self.dcp_lrn_rate_adam <= 0:
            raise ValueError(f"--dcp_lrn_rate_adam {self.dcp_lrn_rate_adam}: must be above 0")
        for name in ("dcp_nb_iters_block", "dcp_nb_iters_layer"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"--{name} {getattr(self, name)}: must be 0 or more")
        for name in ("dcp_nb_smpls", "channel_multiple"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)}: must be 1 or more")
