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
    stripe_target_latency: float | None = option(
        None,
        "share of the LiteRT time that may stay: so many filters inside blocks die as a whole (default: an outcome)",
    )
    stripe_sr: float = option(1e-5, "strength of the L1 norm of the skeletons")
    stripe_threshold: float = option(0.01, "stripes whose skeleton is not larger die, where no target of MACs is set")
    stripe_start: float | None = option(
        None, "share of the training before which none dies for the target (default: 0, from random weights 0.3)"
    )
    stripe_ramp: float | None = option(
        None,
        "share after which the targets are met, and with one of MACs no more stripes die (default: 0.6, from random "
        "weights 0.75)",
    )
    stripe_from_scratch: bool = option(False, "begin with random weights and the recipe of training, as the paper does")
    stripe_freeze_weights: str = option(
        "no",
        "shape-only training from random weights: only skeletons, classifier and (weights) batch norm are trained, or "
        "(weights_and_norms) skeletons and classifier alone",
        choices=FROZEN,
    )
    stripe_nb_epochs: float | None = option(None, "epochs (default: the recipe's, of fine-tuning or training)")

    def __post_init__(self) -> None:
        check_share(self, "what may stay", "stripe_target_macs", "stripe_target_latency")
        check_share(self, "a share of the training", "stripe_ramp")
        check_least(self, 0, "stripe_start")
        if not self.start < self.ramp:
            raise ValueError(f"--stripe_start {self.start}: must be below --stripe_ramp, which is {self.ramp}")
        if self.ramp >= 1:
            raise ValueError(
                f"--stripe_ramp {self.ramp}: must be below 1, so that some training follows what dies for the targets"
            )
        check_least(self, 0, "stripe_sr", "stripe_threshold", "stripe_nb_epochs")

    @property
    def has_target(self) -> bool:
        """Whether something has to be met at the end of the ramp."""
        return bool(self.stripe_target_macs or self.stripe_target_latency)

    @property
    def begins_anew(self) -> bool:
        """Whether it starts from random weights."""
        return self.stripe_from_scratch or self.stripe_freeze_weights != "no"

    @property
    def start(self) -> float:
        """Share of the training; random weights need some before their stripes mean anything."""
        return self.stripe_start if self.stripe_start is not None else 0.3 if self.begins_anew else 0.0

    @property
    def ramp(self) -> float:
        """Share of the training."""
        return self.stripe_ramp if self.stripe_ramp is not None else 0.75 if self.begins_anew else 0.6
