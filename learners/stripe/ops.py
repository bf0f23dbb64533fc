"""Filter skeletons: which stripes of a filter live, and what they cost. Arrays or tensors in and out.

Reference: Meng et al., "Pruning Filter in Filter", NeurIPS 2020. A stripe is the vector W[i, j, :, o] of a filter; the
skeleton FS [K, K, O] scales each of them, and stripes of small |FS| are removed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf


def scaled_kernel(kernel_KxKxIxO: tf.Tensor, skeleton_KxKxO: tf.Tensor) -> tf.Tensor:
    """W * FS, every stripe scaled (eq. 2)."""
    return kernel_KxKxIxO * skeleton_KxKxO[:, :, None, :]


def skeleton_gradient(gradient_KxKxO: tf.Tensor, skeleton_KxKxO: tf.Tensor, strength: float) -> tf.Tensor:
    """The loss's gradient plus the subgradient of strength * |FS| (eq. 3); 0 for stripes that are dead."""
    return (gradient_KxKxO + strength * tf.sign(skeleton_KxKxO)) * alive(skeleton_KxKxO)


def thresholded(skeleton_KxKxO: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """The skeleton with 0 for all that is not larger than the threshold."""
    return tf.where(tf.abs(skeleton_KxKxO) > threshold, skeleton_KxKxO, tf.zeros_like(skeleton_KxKxO))


def alive(skeleton_KxKxO: tf.Tensor) -> tf.Tensor:
    """1 for live stripes, 0 for dead ones."""
    return tf.cast(tf.not_equal(skeleton_KxKxO, 0), skeleton_KxKxO.dtype)


def initial_skeleton(kernel_KxKxIxO: np.ndarray) -> np.ndarray:
    """How long each stripe of a trained kernel is beside the others of its layer, [K, K, O], mean 1; never 0.

    Divided by it the kernel keeps its function, and small stripes begin near the threshold.
    """
    norms = np.sqrt(np.square(kernel_KxKxIxO).sum(axis=2))
    return np.maximum(norms / max(norms.mean(), 1e-12), 1e-3).astype(np.float32)


class StripeLayer(NamedTuple):
    """What a convolution's stripes cost, and what depends on them.

    Attributes:
        macs: with all stripes and all inputs, of all calls together.
        reads: the layers whose dead filters it does not read, to their share of its inputs; "" to that of all others.
        readers: layers that alone read it and come behind it; where they are dead it leaves with them. Else none.
        keeps_one: whether its strongest stripe never dies, because nothing leads around the layer.
    """

    macs: int
    reads: Mapping[str, float]
    readers: tuple[str, ...] = ()
    keeps_one: bool = False


class OtherKernel(NamedTuple):
    """What a kernel without a skeleton costs, such as a depthwise convolution's behind one with a skeleton.

    Attributes:
        macs: at full width.
        ends: for each of its axes of channels the same shares as `StripeLayer.reads`.
    """

    macs: int
    ends: tuple[Mapping[str, float], ...]


def above(skeleton_KxKxO: np.ndarray, threshold: float, keeps_one: bool = False) -> np.ndarray:
    """The stripes of |FS| above a threshold, [K, K, O] bool; or the strongest one."""
    size = np.abs(skeleton_KxKxO)
    live = size > threshold
    if keeps_one and not live.any():
        live[np.unravel_index(size.argmax(), size.shape)] = size.max() > 0
    return live


def live_stripes(
    skeletons: Mapping[str, np.ndarray], layers: Mapping[str, StripeLayer], threshold: float = 0.0
) -> dict[str, np.ndarray]:
    """The stripes that live, [K, K, O] bool by layer; none of a layer that only dead layers read.

    Args:
        layers: in the network's order.
        threshold: stripes of |FS| up to it count as dead.
    """
    live: dict[str, np.ndarray] = {}
    for name, layer in reversed(list(layers.items())):
        live[name] = above(skeletons[name], threshold, layer.keeps_one)
        if layer.readers and not any(live[reader].any() for reader in layer.readers):
            live[name] = np.zeros_like(live[name])
    return {name: live[name] for name in layers}


def computed(live: Mapping[str, np.ndarray], layers: Mapping[str, StripeLayer]) -> dict[str, np.ndarray]:
    """The live stripes that have something to read: what reads nothing gives constants, which nobody has to compute."""
    found: dict[str, np.ndarray] = {}
    for name, layer in layers.items():
        found[name] = live[name] & (_left(layer.reads, found) > 0)
    return found


def _left(shares: Mapping[str, float], live: Mapping[str, np.ndarray]) -> float:
    """What is left of channels: by the live filters of the layers that make them, with all of the others."""
    return sum(
        share * (float(live[source].any(axis=(0, 1)).mean()) if source else 1.0) for source, share in shares.items()
    )


def method_macs(
    skeletons: Mapping[str, np.ndarray],
    layers: Mapping[str, StripeLayer],
    others: Sequence[OtherKernel] = (),
    threshold: float = 0.0,
) -> int:
    """Multiply-accumulates by the paper's count: live stripes times the live channels that they read times places.

    Args:
        skeletons, layers, threshold: as for `live_stripes`.
        others: kernels of the same network that have no skeletons.
    """
    live = computed(live_stripes(skeletons, layers, threshold), layers)
    stripes = sum(layer.macs * _left(layer.reads, live) * float(live[name].mean()) for name, layer in layers.items())
    rest = sum(kernel.macs * math.prod(_left(end, live) for end in kernel.ends) for kernel in others)
    return round(stripes + rest)


def threshold_for(
    budget: float,
    skeletons: Mapping[str, np.ndarray],
    layers: Mapping[str, StripeLayer],
    others: Sequence[OtherKernel] = (),
    steps: int = 30,
) -> float:
    """The smallest threshold that keeps the count within a budget, by halving; the largest |FS| where none does."""
    low, high = 0.0, max(float(np.abs(skeleton).max()) for skeleton in skeletons.values())
    if method_macs(skeletons, layers, others) <= budget:
        return 0.0
    for _ in range(steps):
        middle = (low + high) / 2
        if method_macs(skeletons, layers, others, middle) > budget:
            low = middle
        else:
            high = middle
    return high


class Schedule(NamedTuple):
    """What the stripes may cost after a step, so that the network's MACs fall from all to a target share.

    Cubic, fast at first: Zhu and Gupta, "To prune, or not to prune", 2017, eq. 1.

    Attributes:
        start, end: steps between which the share falls.
        target: the share of the network's MACs at the end.
        whole: the network's MACs.
    """

    start: int
    end: int
    target: float
    whole: int

    def __call__(self, step: int) -> float:
        return self.between(step, self.whole, self.target * self.whole)

    def between(self, step: int, first: float, last: float) -> float:
        """What falls from `first` to `last` in the same way."""
        left = min(max((self.end - step) / max(self.end - self.start, 1), 0.0), 1.0)
        return last + (first - last) * left**3


def survival(skeletons: Sequence[np.ndarray]) -> np.ndarray:
    """How often each position of the kernel lives, [K, K], over all filters of the layers."""
    return np.mean([np.mean(skeleton != 0, axis=-1) for skeleton in skeletons], axis=0)
