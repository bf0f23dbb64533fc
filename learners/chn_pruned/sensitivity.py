"""How much the loss rises when one group alone gets narrower."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from secateur.learners.chn_pruned import ops
from secateur.pruning import ChannelGraph, rules

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

# Group to pairs of (width, rise of the loss), narrowest first.
Scan = Mapping[str, Sequence[tuple[int, float]]]


def scan(
    graph: ChannelGraph,
    scores: Mapping[str, np.ndarray],
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    batches: Sequence[tuple[tf.Tensor, tf.Tensor]],
    progress: Callable[[int, float], None],
) -> Scan:
    """Mask each group at several ratios, the least important channels first, and measure the loss on the batches.

    Args:
        graph: of a float32 model; its weights are changed and put back.
        scores: group to the importance of its channels.
        progress: called with (groups done, last rise).
    """
    model = graph.model
    evaluate = tf.function(lambda images, labels: loss(labels, model(images, training=False)))

    def mean_loss() -> float:
        return float(np.mean([float(evaluate(images, labels)) for images, labels in batches]))

    whole, found = mean_loss(), {}
    for done, (name, values) in enumerate(scores.items(), start=1):
        widths = sorted({max(1, len(values) - int(ratio * len(values))) for ratio in RATIOS})
        rises = []
        for width in widths:
            undo = _mask(graph, name, set(ops.best(values, width)))
            rises.append((width, mean_loss() - whole))
            for variable, value in undo:
                variable.assign(value)
        found[name] = [*rises, (len(values), 0.0)]
        progress(done, rises[0][1])
    return found


def sensitivity_widths(found: Scan, share: float) -> dict[str, int]:
    """The narrowest width of each group that raises the loss by no more than a common threshold.

    Args:
        share: 0 to 1; the threshold falls from the largest rise that was measured to none.
    """
    rises = sorted((rise for pairs in found.values() for _, rise in pairs), reverse=True)
    threshold = rises[round(share * (len(rises) - 1))] if share < 1 else -np.inf
    return {
        name: min((width for width, rise in pairs if rise <= threshold), default=pairs[-1][0])
        for name, pairs in found.items()
    }


def _mask(graph: ChannelGraph, group: str, kept: set[int]) -> list:
    """Zero the input slices of all readers for the channels that are not kept; what undoes it."""
    undo = []
    for name in graph.groups[group].consumers:
        layer = graph.model.get_layer(name)
        kernel, (read, _) = layer.weights[0], rules.axes_of(layer)[0]
        value = kernel.numpy()
        undo.append((kernel, value.copy()))
        places = graph.positions(group, name)[: value.shape[read]]
        np.moveaxis(value, read, 0)[(places >= 0) & ~np.isin(places, list(kept))] = 0.0
        kernel.assign(value)
    return undo
