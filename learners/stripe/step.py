"""The training step on weights and filter skeletons."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from secateur.learners.stripe import ops
from secateur.learners.stripe.skeletons import Skeletons
from secateur.training.distillation import DistillationLoss
from secateur.training.steps import Step, apply_gradients, moving_statistics, train_step


def stripe_step(
    model: keras.Model,
    skeletons: Skeletons,
    trained: Sequence[keras.Variable],
    optimizer: keras.optimizers.Optimizer,
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    weight_decay: float,
    strength: keras.Variable,
    threshold: float,
    distillation: DistillationLoss | None = None,
) -> Step:
    """A step on weights and skeletons: (images [B, H, W, C], labels [B]) to metrics.

    Weight decay is coupled and acts on everything that is trained, skeletons and norms too: it, more than the L1 norm,
    brings stripes to the threshold. Differs from the paper: a dead stripe stays dead, where the momentum of the
    released code may move it for a step.

    Args:
        trained: weights that are trained besides the skeletons.
        strength: of the L1 norm, a variable that a callback may change.
        threshold: stripes that are not larger die in every step.
    """
    variables, moving = [*trained, *skeletons.variables], moving_statistics(model)
    optimizer.build(variables)

    def update(gradients: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        scaled = strength.value * optimizer.scale_loss(1.0)
        for k, name in enumerate(skeletons.of, start=len(trained)):
            if name in skeletons.layers:
                gradients[k] = ops.skeleton_gradient(gradients[k], skeletons.of[name].value, scaled)
        before = {name: ops.alive(skeletons.of[name].value) for name in skeletons.layers}
        apply_gradients(optimizer, gradients, variables, moving)
        for name in skeletons.layers:
            skeletons.of[name].assign(ops.thresholded(skeletons.of[name].value * before[name], threshold))
        return {}

    return train_step(
        model,
        optimizer,
        loss,
        weight_decay,
        distillation,
        replaced=skeletons.replaced,
        trained=variables,
        decayed=variables,
        update=update,
    )


def trained_weights(model: keras.Model, frozen: str, last_layers: Sequence[str]) -> list[keras.Variable]:
    """The weights that are trained besides the skeletons."""
    if frozen == "no":
        return model.trainable_variables
    last = {id(v) for name in last_layers for v in model.get_layer(name).trainable_variables}
    norms = () if frozen == "weights_and_norms" else ("gamma", "beta")
    return [v for v in model.trainable_variables if id(v) in last or v.path.rsplit("/", 1)[-1] in norms]
