"""The pieces of a training step that learners put together."""

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from secateur.pruning.checks import check_model
from secateur.training import parallel
from secateur.training.distillation import DistillationLoss
from secateur.training.task import Recipe, cross_entropy

Step = Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]


def sgd(
    recipe: Recipe, learning_rate: float | keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """Stochastic gradient descent with Nesterov momentum, as the recipe says."""
    return keras.optimizers.SGD(learning_rate, momentum=recipe.momentum, nesterov=True)


def scaled_for(precision: str, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer, with dynamic loss scaling where float16's small gradients need it."""
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "float16" else optimizer


def decayed_kernels(model: keras.Model) -> list[keras.Variable]:
    """The kernels that weight decay acts on: convolution and dense kernels, no biases and no norms."""
    return [v for v in model.trainable_variables if "kernel" in v.path.rsplit("/", 1)[-1]]


def l2_loss(kernels: Sequence[keras.Variable], weight_decay: float) -> tf.Tensor:
    """weight_decay / 2 * sum of squares: the coupled form, which momentum amplifies like any other gradient."""
    return weight_decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(kernel)) for kernel in kernels])


def moving_statistics(model: keras.Model) -> list[keras.Variable]:
    """What a training step changes besides the weights, and workers average: not the state of a dropout's generator."""
    return [v for v in model.non_trainable_variables if keras.backend.is_float_dtype(v.dtype)]


def own_losses(model: keras.Model) -> tf.Tensor:
    """The sum of what the model's layers added in its last call (regularizers, `add_loss`)."""
    return tf.add_n([tf.zeros([]), *(tf.cast(value, tf.float32) for value in model.losses)])


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
    moving: Sequence[keras.Variable] = (),
) -> None:
    """One optimizer step with the gradients, and the moving statistics, averaged over the workers in one all-reduce."""
    averaged = parallel.average([*gradients, *[tf.convert_to_tensor(v) for v in moving]])
    apply_alone(optimizer, averaged[: len(variables)], variables)
    if parallel.size() > 1:
        for variable, value in zip(moving, averaged[len(variables) :], strict=True):
            variable.assign(value)


# Pairs of a variable and the tensor that stands for it in a forward pass.
Replaced = Sequence[tuple[keras.Variable, tf.Tensor]]
# What is done with the gradients of the scaled loss in what is trained; it returns further metrics.
Update = Callable[[list[tf.Tensor]], dict[str, tf.Tensor]]


def forward(model: keras.Model, images: tf.Tensor, replaced: Replaced) -> tf.Tensor:
    """The model's outputs in training mode, computed with other tensors in place of some of its variables.

    Gradients reach what the tensors were made of; moving statistics are updated as ever.
    """
    with keras.StatelessScope(state_mapping=replaced) as scope:
        outputs = model(images, training=True)
    for variable in model.non_trainable_variables:
        value = scope.get_current_value(variable)
        if value is not None:
            variable.assign(value)
    return outputs


def train_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    weight_decay: float,
    distillation: DistillationLoss | None = None,
    norm_l1: Mapping[str, float] | None = None,
    replaced: Callable[[], Replaced] | None = None,
    trained: Sequence[keras.Variable] | None = None,
    decayed: Sequence[keras.Variable] | None = None,
    update: Update | None = None,
    nb_heads: int = 0,
) -> Step:
    """A step on the loss plus weight decay: (images [B, H, W, C], labels [B]) to {"loss", "accuracy"}.

    A model with auxiliary heads gives several logits; the losses of all are added, the first one's is reported. What
    the model's layers add to its losses (regularizers, `add_loss`) is added too.

    Args:
        distillation: what a teacher adds to the loss of the first logits; reported as "distillation".
        norm_l1: batch norm to the factor on the L1 norm of its scales (Network Slimming, Liu et al., 2017).
        replaced: called under the tape in each step, what the model computes with in place of some variables.
        trained: the variables that are trained; None: all. Norms follow the batches either way.
        decayed: what weight decay acts on; None: the model's kernels.
        update: for a learner with a step of its own, which builds the optimizer too; None: the optimizer's step.
        nb_heads: auxiliary heads of the model.

    Raises:
        UsageError: a model that cannot be trained on this loss or not be exported afterwards (`check_model`).
    """
    check_model(model, loss is cross_entropy, nb_heads)
    variables = model.trainable_variables if trained is None else list(trained)
    kernels = decayed_kernels(model) if decayed is None else decayed
    scales = [(model.get_layer(name).gamma, factor) for name, factor in (norm_l1 or {}).items()]
    change = update or _optimizer_step(optimizer, variables, moving_statistics(model))

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = forward(model, images, replaced()) if replaced else model(images, training=True)
            logits, *heads = _as_list(outputs)
            data_loss = loss(labels, logits)
            auxiliary = [loss(labels, head) for head in heads]
            soft = [distillation(images, logits)] if distillation else []
            sparse = [factor * tf.reduce_sum(tf.abs(tf.convert_to_tensor(scale))) for scale, factor in scales]
            rest = [own_losses(model), l2_loss(kernels, weight_decay)]
            objective = tf.add_n([data_loss, *auxiliary, *soft, *sparse, *rest])
            objective = optimizer.scale_loss(objective)
        further = change(tape.gradient(objective, variables))
        metrics = {"loss": data_loss, "accuracy": batch_accuracy(labels, logits)}
        return metrics | ({"distillation": soft[0]} if soft else {}) | further

    return step


def apply_alone(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]
) -> None:
    """One optimizer step on this worker.

    Outside of a replica, where Keras all-reduces nothing: the gradient function of its all-reduce stays in TensorFlow's
    registry for ever, and with it the traced step and all weights that the step has seen. Loss scaling must be in one.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer.apply(gradients, variables)
        return
    tf.distribute.get_replica_context().merge_call(lambda _: optimizer.apply(gradients, variables))


def _optimizer_step(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable], moving: Sequence[keras.Variable]
) -> Update:
    optimizer.build(variables)

    def update(gradients: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        apply_gradients(optimizer, gradients, variables, moving)
        return {}

    return update


def _as_list(outputs: object) -> list[tf.Tensor]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def batch_accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Share of the batch whose largest logit is the label's."""
    hits = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
    return tf.reduce_mean(tf.cast(hits, tf.float32))
