"""How long the learner trains, and what can be refused before."""

import dataclasses

from secateur.learners.stripe.config import StripeConfig
from secateur.learners.stripe.skeletons import Skeletons
from secateur.training.task import Phase, Task
from secateur.utils.errors import UsageError


def phase_of(config: StripeConfig, task: Task) -> Phase:
    phase = task.recipe.training if config.begins_anew else task.recipe.fine_tuning
    nb_epochs = config.stripe_nb_epochs
    return phase if nb_epochs is None else dataclasses.replace(phase, nb_epochs=nb_epochs)


def check_epochs(config: StripeConfig, task: Task) -> None:
    """Without training nothing would meet a target, and random weights would stay random.

    Raises:
        UsageError: says what to give.
    """
    recipe = "training" if config.begins_anew else "fine-tuning"
    if phase_of(config, task).nb_epochs > 0 or not (config.has_target or config.begins_anew):
        return
    wish = "random weights"
    for name in ("stripe_target_macs", "stripe_target_latency"):
        if getattr(config, name):
            wish = f"--{name} {getattr(config, name)}"
    raise UsageError(f"{wish}: nothing is trained, because the epochs of {recipe} are 0; give --stripe_nb_epochs")


def check_target(config: StripeConfig, skeletons: Skeletons) -> None:
    """Raise a UsageError if what must stay costs more than the target, or nothing could be done for one of time."""
    if config.stripe_target_latency and not skeletons.groups:
        raise UsageError(
            f"--stripe_target_latency {config.stripe_target_latency}: no convolution of this network has filters "
            "that could leave it as a whole; choose --stripe_target_macs"
        )
    whole, least = skeletons.macs(), skeletons.least_macs()
    if config.stripe_target_macs and config.stripe_target_macs * whole <= least:
        raise UsageError(
            f"--stripe_target_macs {config.stripe_target_macs}: what has to stay (projections, dense layers, one "
            f"stripe where nothing leads around a layer) alone is {least / whole:.4g} of the MACs; choose more"
        )
