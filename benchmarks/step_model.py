"""How long a training step of several workers takes: compute, the part of the all-reduce that shows, input.

    step = max(compute + max(ring - overlap * backward, 0), input)
    ring = 2 (N - 1) / N * bytes / link + 2 (N - 1) * message
    input = batch / pictures a second

A ring of N workers moves every byte through each link twice, in 2 (N - 1) messages one after the other.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

# Of the time of a step, as its operations are: twice as many as forwards.
BACKWARD = 2 / 3
WORKERS = (8, 16, 32, 64, 128, 256, 512)


class Network(NamedTuple):
    """What the model of a step needs of a network.

    Attributes:
        nb_bytes: that are all-reduced in a step.
        step_ms: of one worker, forwards and backwards, without all-reduce and without waiting for pictures.
        batch: pictures of a worker in a step.
    """

    nb_bytes: int
    step_ms: float
    batch: int


class Link(NamedTuple):
    """What the ring moves data over.

    Attributes:
        gb: GB a second through each worker's link.
        message_us: microseconds of each message, however small.
    """

    gb: float
    message_us: float


# One P100, float32: 219, 142 and 154 pictures a second at batch 64 (tensorflow.org, "Benchmarks", DGX-1, May 2017).
NETWORKS = {
    "ResNet-50": Network(4 * 25_600_000, 64 / 0.219, 64),
    "Inception V3": Network(4 * 23_900_000, 64 / 0.142, 64),
    "VGG-16": Network(4 * 138_400_000, 64 / 0.154, 64),
}
# Measured with Horovod on 128 servers of 4 Pascal GPUs and 25 Gbit Ethernet, on synthetic data (Horovod's README).
NB_ANCHOR, ANCHORS = 512, {"Inception V3": 0.90, "VGG-16": 0.68}
# 25 Gbit Ethernet at nine tenths; what Horovod's all-reduce overlaps of the backward pass; cores a GPU of a DGX-1.
LINK, OVERLAP, CORES = Link(gb=2.8, message_us=30.0), 0.5, 5


def ring_ms(nb_bytes: int, size: int, link: Link) -> float:
    """Of one all-reduce of so many workers."""
    return 2 * (size - 1) * (nb_bytes / size / (link.gb * 1e6) + link.message_us / 1e3)


def efficiency(
    network: Network, size: int, link: Link, overlap: float, pictures_per_second: float = float("inf")
) -> float:
    """What a worker of so many trains, relative to one alone that never waits for pictures.

    Args:
        overlap: share of the backward pass in which gradients are on their way already.
        pictures_per_second: that a worker's input can give.
    """
    shown = max(ring_ms(network.nb_bytes, size, link) - overlap * BACKWARD * network.step_ms, 0.0)
    return network.step_ms / max(network.step_ms + shown, 1e3 * network.batch / pictures_per_second)


def fitted(milliseconds: Mapping[int, float]) -> Link:
    """The link that explains best, in relative terms, what all-reduces of two workers take, bytes to milliseconds."""
    sizes, times = np.array(list(milliseconds)), np.array(list(milliseconds.values()))
    per_byte, fixed = np.polyfit(sizes, times, 1, w=1 / times).tolist()
    # The ring of two moves each byte once, in two messages.
    return Link(gb=1e-6 / per_byte, message_us=1e3 * max(fixed, 0.0) / 2)


def predictions(pictures_per_second: float) -> dict[float, dict]:
    """By overlap, network and number of GPUs the efficiency: none, as this program has it, and Horovod's."""
    return {
        overlap: {
            name: {size: round(efficiency(network, size, LINK, overlap, pictures_per_second), 3) for size in WORKERS}
            for name, network in NETWORKS.items()
        }
        for overlap in (0.0, OVERLAP)
    }


def anchors() -> dict[str, dict]:
    """By network the published efficiency, the model's error, and the assumption that is responsible."""
    found = {}
    for name, published in ANCHORS.items():
        network = NETWORKS[name]
        ours = efficiency(network, NB_ANCHOR, LINK, OVERLAP)
        found[name] = {
            "published": published,
            "error": ours - published,
            "responsible": responsible(network, published),
        }
    return found


def responsible(network: Network, published: float) -> str:
    """What would have to be assumed in place of one share of overlap for all networks.

    Where the gradients of most parameters come first, as those of VGG-16's dense layers do, more of the all-reduce
    overlaps. Where the model is too good already, what is missing is, most likely, the wait for the slowest worker.
    """
    shown, hidden = network.step_ms * (1 / published - 1), BACKWARD * network.step_ms
    overlap = (ring_ms(network.nb_bytes, NB_ANCHOR, LINK) - shown) / hidden
    if overlap > OVERLAP:
        return f"an overlap of {overlap:.0%} in place of {OVERLAP:.0%}"
    waited = shown - max(ring_ms(network.nb_bytes, NB_ANCHOR, LINK) - OVERLAP * hidden, 0.0)
    return f"{waited:.0f} ms a step of waiting for the slowest worker, which the model leaves out"
