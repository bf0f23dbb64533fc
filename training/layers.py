"""Training forms of stock layers: the same function, faster to train."""

import keras
import tensorflow as tf

from secateur.pruning import rules
from secateur.training import parallel


@keras.saving.register_keras_serializable(package="secateur")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation with TensorFlow's fused kernel.

    Keras 3 computes the moments, the normalisation and its gradient as separate operations, which is much slower on a
    CPU (`benchmarks/train_step.py`). Weights, configuration and results are the stock
    layer's. Channels must be the last axis of a 4-dimensional input; other inputs take the stock path.

    Call arguments: inputs [B, H, W, C] in float32, bfloat16 or float16; training (bool). Returns the same shape.
    """

    def call(self, inputs, training=None, mask=None):
        if len(inputs.shape) != 4 or self.axis not in (-1, 3) or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        scale = tf.cast(self.gamma, tf.float32) if self.scale else tf.ones([channels])
        offset = tf.cast(self.beta, tf.float32) if self.center else tf.zeros([channels])
        learns = bool(training) and self.trainable
        known = (
            {} if learns else {"mean": self._float32(self.moving_mean), "variance": self._float32(self.moving_variance)}
        )
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, scale, offset, epsilon=self.epsilon, is_training=learns, **known
        )
        if learns:
            # The kernel returns the unbiased variance (N - 1); Keras keeps the biased one (N).
            count = tf.cast(tf.size(inputs) // channels, tf.float32)
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance * (count - 1) / count)
        return outputs

    @staticmethod
    def _float32(variable: keras.Variable) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(variable), tf.float32)

    def _move(self, average: keras.Variable, value: tf.Tensor) -> None:
        average.assign(average * self.momentum + tf.cast(value, average.dtype) * (1 - self.momentum))

    def stock_layer(self) -> keras.layers.Layer:
        """The layer that an exported model holds instead: same configuration, same weights in the same order."""
        return keras.layers.BatchNormalization.from_config(self.get_config())


@keras.saving.register_keras_serializable(package="secateur")
class SynchronizedBatchNormalization(FusedBatchNormalization):
    """Batch normalisation by the statistics of all workers' pictures (`--sync_bn`).

    Training on N workers then is training on one with N times the batch. Each layer waits twice a step for the others,
    forwards and backwards. Weights, configuration and inference are the stock layer's.

    Call arguments: inputs [B, ..., C], training (bool). Returns the same shape.
    """

    def call(self, inputs, training=None, mask=None):
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        precise = "float64" if inputs.dtype == tf.float64 else "float32"
        x, axis = tf.cast(inputs, precise), self.axis % len(inputs.shape)
        others = [k for k in range(len(inputs.shape)) if k != axis]
        mean = mean_over_workers(tf.reduce_mean(x, others, keepdims=True))
        variance = mean_over_workers(tf.reduce_mean(tf.square(x - mean), others, keepdims=True))
        shape = [1 if k != axis else -1 for k in range(len(inputs.shape))]
        scale = tf.reshape(tf.cast(self.gamma, precise), shape) if self.scale else None
        offset = tf.reshape(tf.cast(self.beta, precise), shape) if self.center else None
        self._move(self.moving_mean, tf.reshape(mean, [-1]))
        self._move(self.moving_variance, tf.reshape(variance, [-1]))
        return tf.cast(tf.nn.batch_normalization(x, mean, variance, offset, scale, self.epsilon), inputs.dtype)


@tf.custom_gradient
def mean_over_workers(x: tf.Tensor) -> tf.Tensor:
    """The mean of all workers' tensors, through which gradients reach all of them.

    Each worker has the gradient of its own loss, and those of the variables are averaged later; so the gradient here is
    the average too.
    """
    (mean,) = parallel.average([x])
    return mean, lambda gradient: parallel.average([gradient])[0]


for kind in (FusedBatchNormalization, SynchronizedBatchNormalization):
    rules.register_rule(kind, rules.find(keras.layers.BatchNormalization()))
