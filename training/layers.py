"""Training forms of stock layers: the same function, faster to train."""

import keras
import tensorflow as tf

from secateur.pruning import rules


@keras.saving.register_keras_serializable(package="secateur")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation with TensorFlow's fused kernel.

    Keras 3 computes the moments, the normalisation and its gradient as separate operations; on a CPU the fused kernel
    takes a ResNet-20 step from about 200 to 120 ms in bfloat16. Weights, configuration and results are the stock
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


rules.register_rule(FusedBatchNormalization, rules.find(keras.layers.BatchNormalization()))
