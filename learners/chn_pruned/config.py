"""Flags of the learner `chn-pruned`."""

import dataclasses

from secateur.pruning.widths import multiple_of
from secateur.utils.flags import check_least, check_share, option

CRITERIA = ("l1", "l2", "fpgm", "bn", "taylor", "random")
TARGETS = ("macs", "params", "latency")


@dataclasses.dataclass(frozen=True)
class ChnPrunedConfig:
    """Channel pruning by a criterion: the practical default, and what other methods have to beat."""

    chn_prune_ratio: float = option(
        0.5, "share of the channels of each group to remove, 0 to 1, where no target is set"
    )
    chn_target_macs: float | None = option(None, "instead of a ratio: the share of the MACs that may stay")
    chn_target_params: float | None = option(None, "instead of a ratio: the share of the parameters that may stay")
    chn_target_latency: float | None = option(None, "instead of a ratio: the share of the LiteRT time that may stay")
    chn_criterion: str = option(
        "l1",
        "what a channel is worth: norm of its filters (l1, l2), distance of its filter to the others (fpgm), scale of "
        "its batch norm (bn), first-order change of the loss (taylor), random (to compare)",
        choices=CRITERIA,
    )
    chn_ranking: str = option(
        "uniform",
        "the same share in every group, one ranking of all channels, or as narrow as each group bears by a scan of the "
        "loss (saved, and found again by later runs)",
        choices=("uniform", "global", "sensitivity"),
    )
    chn_scope: str = option("block", "prune inside the blocks, or also the residual stream", choices=("block", "all"))
    chn_nb_rounds: int = option(1, "prune in so many rounds, with training in between")
    chn_nb_epochs_round: float = option(1.0, "epochs between two rounds")
    chn_bn_l1: float = option(
        0.0, "before pruning, train with this factor on the L1 norm of the scales of the pruned groups' batch norms"
    )
    chn_nb_epochs_bn_l1: float = option(10.0, "epochs of that training")
    chn_nb_smpls: int = option(2560, "training pictures for the criterion taylor")
    channel_multiple: str = option(
        "1",
        "round the number of kept channels up to a multiple of this; 1 keeps the ratio exact; auto: the multiple that "
        "LiteRT runs fastest at the same MACs",
    )
    skip_layers: str | None = option(
        None, "names of layers whose inputs and outputs stay, separated by commas; * stands for anything"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.chn_prune_ratio <= 1:
            raise ValueError(
                f"--chn_prune_ratio {self.chn_prune_ratio}: must be 0 to 1, the share of channels to remove"
            )
        targets = [f"chn_target_{name}" for name in TARGETS]
        check_share(self, "what may stay", *targets)
        given = [name for name in targets if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"--{' and --'.join(given)}: choose one target")
        check_least(self, 1, "chn_nb_rounds", "chn_nb_smpls")
        check_least(self, 0, "chn_nb_epochs_round", "chn_bn_l1", "chn_nb_epochs_bn_l1")
        multiple_of(self.channel_multiple)

    @property
    def target(self) -> tuple[str, float] | None:
        """The target that was set, such as ("macs", 0.5)."""
        pairs = [(name, getattr(self, f"chn_target_{name}")) for name in TARGETS]
        return next(((name, share) for name, share in pairs if share is not None), None)
