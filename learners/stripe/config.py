"""Flags of the learner `stripe`."""

import dataclasses

from secateur.utils.flags import check_least, check_share, option

FROZEN = ("no", "weights", "weights_and_norms")


@dataclasses.dataclass(frozen=True)
class StripeConfig:
    """Stripe-wise pruning: the shape of every filter is learned with its weights."""

    stripe_target_macs: float | None = option(
        None, "share of the method's MACs that may stay; the threshold rises until they are met (default: an outcome)"
    )
    stripe_sr: float = option(1e-5, "strength of the L1 norm of the skeletons")
    stripe_threshold: float = option(0.01, "stripes whose skeleton is not larger die, where no target is set")
    stripe_ramp: float = option(0.6, "share of the training after which the target is met and no more stripes die")
    stripe_from_scratch: bool = option(False, "begin with random weights and the recipe of training, as the paper does")
    stripe_freeze_weights: str = option(
        "no",
        "shape-only training from random weights: only skeletons, classifier and (weights) batch norm are trained, or "
        "(weights_and_norms) skeletons and classifier alone",
        choices=FROZEN,
    )
    stripe_nb_epochs: float | None = option(None, "epochs (default: the recipe's, of fine-tuning or training)")

    def __post_init__(self) -> None:
        check_share(self, "what may stay", "stripe_target_macs")
        check_share(self, "a share of the training", "stripe_ramp")
        check_least(self, 0, "stripe_sr", "stripe_threshold", "stripe_nb_epochs")

    @property
    def begins_anew(self) -> bool:
        """Whether it starts from random weights."""
        return self.stripe_from_scratch or self.stripe_freeze_weights != "no"
