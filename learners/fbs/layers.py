"""`ChannelPruning`: any block of Keras layers, with its output channels gated picture by picture."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.fbs import ops
from secateur.learners.fbs.convolutions import as_factors, plain

NORMALIZATIONS = ("paper", "sum")
# Of the mean spread of a layer's input channels, or of the spread that saliencies of independent channels would have.
LEAST_SPREAD = 0.1
# Of the mean magnitude: where what pictures do not have in common is less, they have nothing but its size to differ in.
LEAST_APART = 1e-4


@keras.saving.register_keras_serializable(package="secateur")
class ChannelPruning(keras.layers.Layer):
    """Layers in a row, like a Sequential, whose output channels a predictor ranks from their input.

    For each picture the predictor computes a saliency per output channel, relu(mean |x| . phi + rho); the k largest
    win; the output is multiplied by the saliencies of the winners and by 0 elsewhere. Trained from scratch the last
    layer should be a `BatchNormalization(scale=False)`, as in the paper: the gate is its scale.

    Where the predictor joins a trained network `calibrate` changes what it reads: what pictures have in common goes
    (the part of the magnitudes along their mean), and the rest is brought to one scale. Else nearly all that the first
    steps change is a constant, the same for every picture, and grows with the stream. Training then moves what pictures
    have in common, and where they need not differ, as in the first layers, the winners become the same for all.

    For one picture outside of training only the winners' filters are computed, if the layers are a convolution and its
    norm.

    Args:
        layers: applied one after the other, to a tensor [N, H, W, C].
        density: share of the output channels that fire, above 0, at most 1; `set_density` changes it later. It is
            among the weights, so call `set_density` behind `set_weights`.
        normalize: "paper" gates with the saliencies themselves, "sum" with saliencies relative to their mean.
        l1: factor on the sum of all saliencies, which is added to the layer's losses.
        balance: factor on how unevenly channels win (`ops.imbalance`), which is added to the layer's losses too.
        nonnegative: the input comes from a ReLU, which makes training faster.

    Call arguments: inputs [N, H, W, C]; training (bool). Returns [N, H', W', C'].
    """

    def __init__(
        self,
        layers: Sequence[keras.layers.Layer],
        density: float = 1.0,
        normalize: str = "paper",
        l1: float = 0.0,
        balance: float = 0.0,
        nonnegative: bool = False,
        **kwargs: object,
    ):
        super().__init__(**kwargs)
        if normalize not in NORMALIZATIONS:
            raise ValueError(f"normalize {normalize}: must be one of {', '.join(NORMALIZATIONS)}")
        self.layers, self.normalize, self.l1, self.balance = list(layers), normalize, l1, balance
        self.nonnegative = nonnegative
        self.set_density(density)

    def build(self, input_shape: tuple) -> None:
        shape = input_shape
        for layer in self.layers:
            if not layer.built:  # a layer that comes from a configuration is
                layer.build(shape)
            shape = layer.compute_output_shape(shape)
        if len(shape) != 4:
            raise ValueError(f"{self.name}: its layers make {shape}, must be [N, H, W, C]; put the last ones behind it")
        self.nb_channels = shape[-1]
        # Small weights: with large ones the saliencies of a deep network grow from layer to layer until they overflow.
        initial = keras.initializers.TruncatedNormal(stddev=0.05 / np.sqrt(input_shape[-1]))
        # In bfloat16 the predictor would choose other winners than the exported model does.
        exact = {"dtype": "float32", "autocast": False}
        shape_of_phi, shape_of_rho = (input_shape[-1], self.nb_channels), (self.nb_channels,)
        self.phi = self.add_weight(name="phi", shape=shape_of_phi, initializer=initial, **exact)
        self.rho = self.add_weight(name="rho", shape=shape_of_rho, initializer="ones", **exact)
        read = {"shape": (input_shape[-1],), "trainable": False, **exact}
        self.common = self.add_weight(name="common", initializer="zeros", **read)
        self.spread = self.add_weight(name="spread", initializer="ones", **read)
        self.nb_kept = self.add_weight(name="nb_kept", shape=(), dtype="int32", initializer="ones", trainable=False)
        self.built = True
        self.set_density(self._density)

    def set_density(self, density: float) -> None:
        """Let another share of the channels fire from now on.

        Raises:
            ValueError: not above 0 or above 1.
        """
        if not 0 < density <= 1:
            raise ValueError(f"density {density}: must be above 0 and at most 1")
        self._density = density
        if self.built:
            self.nb_kept.assign(ops.nb_winners(density, self.nb_channels))

    def calibrate(self, magnitudes_NxC: np.ndarray, seed: int, size: float) -> None:
        """Begin with saliencies of mean 1 that differ from picture to picture by about `size`.

        Args:
            magnitudes_NxC: mean |x| of the input channels of some pictures.
            seed: of the random predictor.
        """
        mean = magnitudes_NxC.mean(axis=0)
        common = mean / max(np.linalg.norm(mean), 1e-12)
        spread = (magnitudes_NxC - np.outer(magnitudes_NxC @ common, common)).std(axis=0)
        if spread.mean() <= LEAST_APART * mean.mean():  # as of a single channel: pictures differ in nothing else
            common, spread = np.zeros_like(mean), magnitudes_NxC.std(axis=0)
        self.common.assign(common)
        # What hardly moves, a channel or all of them, must not be blown up to noise.
        least = max(LEAST_SPREAD * spread.mean(), LEAST_SPREAD**2 * mean.mean())
        # Over the root of their number, so that a step changes a saliency as much as it changes a norm's scale.
        each = np.maximum(spread, least) if least > 0 else np.ones_like(spread)
        self.spread.assign(np.sqrt(len(mean)) * each)
        self.phi.assign(np.random.default_rng(seed).normal(size=self.phi.shape))
        varied = magnitudes_NxC @ self.predictor()[0]
        self.phi.assign(size * self.phi.numpy() / np.maximum(varied.std(axis=0), LEAST_SPREAD))
        self.rho.assign(1 - mean @ self.predictor()[0])

    def predictor(self) -> tuple[np.ndarray, np.ndarray]:
        """Kernel [C, C'] and bias [C'] of the dense layer that the predictor is, all that it reads folded in."""
        kernel, common = self.phi.numpy() / self.spread.numpy()[:, None], self.common.numpy()
        return kernel - np.outer(common, common @ kernel), self.rho.numpy()

    def saliency(self, read: tf.Tensor) -> tf.Tensor:
        """Of each output channel, [N, C'] float32, from the mean magnitudes of the input channels, [N, C]."""
        phi, rho, common, spread = map(tf.convert_to_tensor, (self.phi, self.rho, self.common, self.spread))
        read -= tf.linalg.matvec(read, common)[:, None] * common
        return tf.nn.relu(read / spread @ phi + rho)

    def divisor(self, read: tf.Tensor) -> tf.Tensor:
        """What "sum" divides by, [N] float32: the mean over all channels of the winners' saliencies."""
        pi = ops.gates(self.saliency(read), tf.convert_to_tensor(self.nb_kept), normalize=False)
        return tf.reduce_mean(pi, axis=1)

    def margin(self, inputs: tf.Tensor) -> tf.Tensor:
        """How clear the choice of the winners is, [N] float32: see `ops.margin`."""
        read, (kernel, bias) = ops.subsample(inputs), self.predictor()
        saliency, size = tf.nn.relu(read @ kernel + bias), read @ np.abs(kernel) + np.abs(bias)
        return ops.margin(saliency, size, int(self.nb_kept.numpy()))

    def gate(self, read: tf.Tensor) -> tf.Tensor:
        """What each output channel is multiplied with, [N, C'] float32, from mean magnitudes [N, C]."""
        saliency = self.saliency(read)
        if self.l1:
            self.add_loss(self.l1 * tf.reduce_sum(saliency))
        pi = ops.gates(saliency, tf.convert_to_tensor(self.nb_kept), self.normalize == "sum")
        if self.balance:
            self.add_loss(self.balance * ops.imbalance(pi))
        return pi

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training and self._can_skip(inputs):
            return self._skipped(inputs)
        outputs, read = ops.tapped(inputs, self.nonnegative)
        for layer in self.layers:
            outputs = layer(outputs, training=training) if layer._call_has_training_arg else layer(outputs)
        return outputs * tf.cast(self.gate(read), outputs.dtype)[:, None, None, :]

    def _can_skip(self, inputs: tf.Tensor) -> bool:
        """Whether it is one picture, in TensorFlow, and the layers are a plain convolution and its norm."""
        kinds = [keras.layers.Conv2D, keras.layers.BatchNormalization]
        fits = len(self.layers) == 2 and all(map(isinstance, self.layers, kinds)) and plain(self.layers[0])
        return fits and self.layers[1].axis in (-1, 3) and tf.is_tensor(inputs) and inputs.shape[0] == 1

    def _skipped(self, inputs: tf.Tensor) -> tf.Tensor:
        """The winners' filters alone, each put in its place."""
        convolution, norm = self.layers
        gate = self.gate(ops.subsample(inputs))
        _, winners = tf.math.top_k(gate[0], tf.convert_to_tensor(self.nb_kept))
        scale, offset = as_factors(convolution, norm)
        kernel = tf.gather(tf.convert_to_tensor(convolution.kernel), winners, axis=3)
        x, dtype = tf.cast(inputs, self.compute_dtype), self.compute_dtype
        made = tf.nn.conv2d(x, tf.cast(kernel, dtype), convolution.strides, convolution.padding.upper())
        made = tf.cast(made, tf.float32) * tf.gather(scale, winners) + tf.gather(offset, winners)
        made *= tf.gather(gate[0], winners)
        places = tf.one_hot(winners, self.nb_channels)
        return tf.cast(tf.einsum("nhwk,kc->nhwc", made, places), dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def load_own_variables(self, store: dict) -> None:
        """The density stays the layer's own: weights saved at another one, such as 1, may be loaded."""
        super().load_own_variables(store)
        self.set_density(self._density)

    def get_config(self) -> dict:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        own = {"layers": layers, "density": self._density, "normalize": self.normalize, "l1": self.l1}
        own |= {"balance": self.balance, "nonnegative": self.nonnegative}
        return super().get_config() | own

    @classmethod
    def from_config(cls, config: dict) -> "ChannelPruning":
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**(config | {"layers": layers}))
