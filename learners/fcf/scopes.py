"""What a scalar stands for: a channel group's channel, or a single filter."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import keras
import numpy as np

from secateur import export
from secateur.learners.fcf import squeeze
from secateur.learners.fcf.config import FcfConfig
from secateur.learners.fcf.counts import filter_magnitudes, group_magnitudes
from secateur.pruning import ChannelGraph
from secateur.pruning.blocks import branch_convolutions
from secateur.pruning.gates import Gate, maker_gates, reader_gates
from secateur.training.precision import to_training
from secateur.training.run import Run
from secateur.training.steps import Replaced
from secateur.utils.errors import UsageError

# Rows to their kept channels, ascending.
Kept = Mapping[str, Sequence[int]]


class Scope(Protocol):
    """What the learner asks of either kind.

    Attributes:
        rows: names of what carries scalars.
    """

    rows: list[str]

    def magnitudes(self) -> dict[str, np.ndarray]:
        """Mean |w| of what each scalar acts on, by row."""

    def gates(self, model: keras.Model) -> list[Gate]:
        """Where the scalars are multiplied in while they are trained."""

    def pruned(self, model: keras.Model, kept: Kept, pictures: np.ndarray) -> tuple[keras.Model, float]:
        """The network to fine-tune, float32, and how far it is from the masked one on the pictures."""

    def unsqueezed(self, model: keras.Model, kept: Kept) -> keras.Model | None:
        """Only the filters gone, nothing squeezed, float32; None where that is no other network."""

    def replaced(self, model: keras.Model, kept: Kept) -> Callable[[], Replaced] | None:
        """What stays masked while the network is fine-tuned."""

    def finished(self, model: keras.Model, kept: Kept, pictures: np.ndarray, run: Run) -> tuple[keras.Model, dict]:
        """The network to export, and facts about it."""

    def plan(self, kept: Kept) -> dict:
        """The kept channels as `Learner.evaluate` gives them."""


class GroupScope:
    """A scalar for each channel of each prunable group, multiplied into the kernels that read it."""

    def __init__(self, graph: ChannelGraph):
        self._graph = graph
        self.rows = [name for name, group in graph.groups.items() if group.prunable]
        if not self.rows:
            raise UsageError(
                f"{graph.model.name} has no channel group that may be pruned; ChannelGraph(model).summary() says why"
            )

    def magnitudes(self) -> dict[str, np.ndarray]:
        """Mean |w| of what makes each channel, by row."""
        return {name: group_magnitudes(self._graph, name) for name in self.rows}

    def gates(self, model: keras.Model) -> list[Gate]:
        return reader_gates(self._graph, self.rows)

    def pruned(self, model: keras.Model, kept: Kept, pictures: np.ndarray) -> tuple[keras.Model, float]:
        """The network to fine-tune: really smaller; and how far it is from the masked one."""
        return export.shrink_checked(to_training(model, "float32"), kept, pictures, "after the joint training")

    def unsqueezed(self, model: keras.Model, kept: Kept) -> None:
        """Nothing is squeezed."""

    def replaced(self, model: keras.Model, kept: Kept) -> None:
        """Nothing: the network is small already."""

    def finished(self, model: keras.Model, kept: Kept, pictures: np.ndarray, run: Run) -> tuple[keras.Model, dict]:
        return model, {}

    def plan(self, kept: Kept) -> dict:
        return {"plan": dict(kept)}


class FilterScope:
    """The paper's scalars, one for each filter of the convolutions inside blocks.

    Differs from the paper: they multiply the scale of the norm behind the filter. In front of it the norm divides them
    out, their gradient is rounding noise, and so would be the choice.
    """

    def __init__(self, graph: ChannelGraph, form: str):
        self._graph, self._form = graph, form
        self.rows = branch_convolutions(graph.record)
        if not self.rows:
            raise UsageError(
                f"--fcf_scope filter: {graph.model.name} has no convolution for it (in a block, not grouped, not "
                "called twice); take --fcf_scope group"
            )

    def magnitudes(self) -> dict[str, np.ndarray]:
        """Mean |w| of each filter, by row."""
        return {name: filter_magnitudes(self._graph.model, name) for name in self.rows}

    def gates(self, model: keras.Model) -> list[Gate]:
        return maker_gates(self._graph, self.rows)

    def pruned(self, model: keras.Model, kept: Kept, pictures: np.ndarray) -> tuple[keras.Model, float]:
        """The network to fine-tune: as wide as before, with zeros for all that the squeeze takes away."""
        masked = to_training(model, "float32")
        for kernel, value in self._masked_kernels(masked, kept):
            kernel.assign(value)
        return masked, 0.0

    def unsqueezed(self, model: keras.Model, kept: Kept) -> keras.Model:
        """Filters of zeros, and every convolution still reads all channels.

        One worker looks at it alone, so its norms must not ask the others.
        """
        masked = to_training(export.to_stock(model), "float32")
        for name, channels in kept.items():
            kernel = masked.get_layer(name).kernel
            made = np.isin(np.arange(kernel.shape[-1]), channels)
            kernel.assign(keras.ops.multiply(kernel, made.astype(np.float32)))
        return masked

    def replaced(self, model: keras.Model, kept: Kept) -> Callable[[], Replaced]:
        """Keeps the zeros while the network is fine-tuned."""
        return lambda: self._masked_kernels(model, kept)

    def finished(self, model: keras.Model, kept: Kept, pictures: np.ndarray, run: Run) -> tuple[keras.Model, dict]:
        """Squeeze, convolution, expand: for each layer the form that LiteRT runs fastest."""
        masked, _ = self.pruned(model, kept, pictures)
        wide = squeeze.masks(self._graph, kept)
        small, masks = squeeze.without_inner_channels(export.to_stock(masked), wide)
        if self._form == "fastest":
            choose = functools.partial(squeeze.fastest_forms, small, masks, run.directory / "forms")
        else:
            choose = functools.partial(squeeze.squeezed_forms, small, masks)
        chosen = run.stage("forms", choose, alone=True)
        final = squeeze.build(small, masks, chosen["forms"])
        error = export.check_same_logits("masked and squeezed model", masked, final, pictures)
        macs = squeeze.method_macs(self._graph.model, wide)
        return final, chosen | {"masked_vs_shrunk": error, "macs_method": macs}

    def plan(self, kept: Kept) -> dict:
        return {"kept_filters": {name: len(channels) for name, channels in kept.items()}}

    def _masked_kernels(self, model: keras.Model, kept: Kept) -> Replaced:
        pairs = []
        for name, (read, made) in squeeze.masks(self._graph, kept).items():
            kernel = model.get_layer(name).kernel
            pairs.append((kernel, keras.ops.multiply(kernel, read[:, None] * made[None, :])))
        return pairs


def scope_of(config: FcfConfig, graph: ChannelGraph) -> Scope:
    """The scope that the flags ask for."""
    return GroupScope(graph) if config.fcf_scope == "group" else FilterScope(graph, config.fcf_form)
