"""`ChannelPruning`: any block of Keras layers, with its output channels gated picture by picture."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.fbs import ops

NORMALIZATIONS = ("paper", "sum")


@keras.saving.register_keras_serializable(package="secateur")
class ChannelPruning(keras.layers.Layer):
    """Layers in a row, like a Sequential, whose output channels a predictor ranks from their input.

    For each picture the predictor computes a saliency per output channel, relu(mean |x| . phi + rho); the k largest
    win; the output is multiplied by the saliencies of the winners and by 0 elsewhere. The last layer should be a
    `BatchNormalization(scale=False)`: its scale would only repeat the gate.

    Args:
        layers: applied one after the other, to a tensor [N, H, W, C].
        density: share of the output channels that fire, above 0, at most 1; `set_density` changes it later.
        normalize: "paper" gates with the saliencies themselves, "sum" with saliencies relative to their mean.
        l1: factor on the sum of all saliencies, which is added to the layer's losses.

    Call arguments: inputs [N, H, W, C]; training (bool). Returns [N, H', W', C'].
    """

    def __init__(
        self,
        layers: Sequence[keras.layers.Layer],
        density: float = 1.0,
        normalize: str = "paper",
        l1: float = 0.0,
        **kwargs: object,
    ):
        super().__init__(**kwargs)
        if not 0 < density <= 1:
            raise ValueError(f"density {density}: must be above 0 and at most 1")
        if normalize not in NORMALIZATIONS:
            raise ValueError(f"normalize {normalize}: must be one of {', '.join(NORMALIZATIONS)}")
        self.layers, self.normalize, self.l1 = list(layers), normalize, l1
        self._density = density

    def build(self, input_shape: tuple) -> None:
        shape = input_shape
        for layer in self.layers:
            if not layer.built:  # a layer that comes from a configuration is
                layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.nb_channels = shape[-1]
        # Small weights: with large ones the saliencies of a deep network grow from layer to layer until they overflow.
        initial = keras.initializers.TruncatedNormal(stddev=0.05 / np.sqrt(input_shape[-1]))
        self.phi = self.add_weight(name="phi", shape=(input_shape[-1], self.nb_channels), initializer=initial)
        self.rho = self.add_weight(name="rho", shape=(self.nb_channels,), initializer="ones")
        # The mean of the saliencies that "sum" restores.
        self.level = self.add_weight(name="level", shape=(), initializer="ones", trainable=False)
        self.nb_kept = self.add_weight(name="nb_kept", shape=(), dtype="int32", initializer="ones", trainable=False)
        self.set_density(self._density)
        self.built = True

    def set_density(self, density: float) -> None:
        """Let another share of the channels fire from now on."""
        self._density = density
        self.nb_kept.assign(ops.nb_winners(density, self.nb_channels))

    def saliency(self, inputs: tf.Tensor) -> tf.Tensor:
        """Of each output channel, [N, C'] float32."""
        phi, rho = (tf.cast(tf.convert_to_tensor(weight), tf.float32) for weight in (self.phi, self.rho))
        return tf.nn.relu(ops.subsample(inputs) @ phi + rho)

    def gate(self, inputs: tf.Tensor) -> tf.Tensor:
        """What each output channel is multiplied with, [N, C'] float32."""
        saliency = self.saliency(inputs)
        if self.l1:
            self.add_loss(self.l1 * tf.reduce_sum(saliency))
        level = tf.cast(tf.convert_to_tensor(self.level), tf.float32) if self.normalize == "sum" else None
        return ops.gates(saliency, tf.convert_to_tensor(self.nb_kept), level)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        outputs = inputs
        for layer in self.layers:
            outputs = layer(outputs, training=training) if layer._call_has_training_arg else layer(outputs)
        return outputs * tf.cast(self.gate(inputs), outputs.dtype)[:, None, None, :]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        own = {"layers": layers, "density": self._density, "normalize": self.normalize, "l1": self.l1}
        return super().get_config() | own

    @classmethod
    def from_config(cls, config: dict) -> "ChannelPruning":
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**(config | {"layers": layers}))
