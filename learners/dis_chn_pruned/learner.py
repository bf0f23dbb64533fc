"""Learner `dis-chn-pruned`: discrimination-aware channel pruning.

Reference: Zhuang et al., "Discrimination-aware Channel Pruning for Deep Neural Networks", NeurIPS 2018.
Differs from the paper: an auxiliary head exists only during its own stage; after each stage the network is really
shrunk, so that the next stage trains the smaller one; the gradient of a pick comes from a few batches, not from the
whole data set; the original network, whose features are reconstructed, is the pretrained one in every stage.
"""

import gc
import itertools
import math
import zlib
from collections.abc import Iterator, Sequence

import keras

from secateur.export import NB_PICTURES_CHECKED, shrink_checked
from secateur.learners.dis_chn_pruned.config import DisChnPrunedConfig
from secateur.learners.dis_chn_pruned.layers import with_head, without_head
from secateur.learners.dis_chn_pruned.selection import Search, SelectionProblem, select_channels
from secateur.learners.dis_chn_pruned.stages import PruneStage, plan_stages
from secateur.learners.dis_chn_pruned.widths import planned_widths
from secateur.pruning import ChannelGraph, ChannelGroup
from secateur.pruning.summary import reasons
from secateur.pruning.widths import multiple_of
from secateur.training import parallel
from secateur.training.distillation import distillation_loss
from secateur.training.loop import fit
from secateur.training.precision import to_training
from secateur.training.pretrained import load_pretrained
from secateur.training.recalibrate import recalibrate_stage
from secateur.training.run import Run
from secateur.training.steps import scaled_for, train_step
from secateur.training.task import Dataset, Task
from secateur.training.train import stream_seed, train_model
from secateur.utils.errors import UsageError


class DisChnPrunedLearner:
    """Prunes what the convolutions read: inside the residual blocks, or everywhere, or along a chain."""

    needs_dense = True

    def __init__(self, config: DisChnPrunedConfig, task: Task, run: Run):
        self.config, self.task, self.run = config, task, run
        recipe = task.recipe
        self._nb_iters_block = _first(config.dcp_nb_iters_block, recipe.dcp_nb_iters_block)
        self._nb_iters_layer = _first(config.dcp_nb_iters_layer, recipe.dcp_nb_iters_layer)
        self._kept: dict[str, list[int]] = {}
        self._errors: list[float] = []

    def train(self) -> None:
        self._original = load_pretrained(self.task)
        self._model = to_training(self._original, self.run.precision, self.run.sync_bn)
        self._graph, config = ChannelGraph(self._original), self.config
        stages = plan_stages(self._original, self._graph, config.dcp_nb_stages, config.dcp_scope)
        groups = [group for stage in stages for group in stage.groups]
        if not groups:
            raise UsageError(
                f"{self._original.name} has no channel group that dis-chn-pruned may prune with --dcp_scope "
                f"{config.dcp_scope}: it prunes what plain convolutions read, in scope block outside of the residual "
                f"stream; {reasons(self._graph.groups)}"
            )
        widths = planned_widths(self._original, self._graph, groups, config, self.run)
        if not config.dcp_adaptive_eps and all(widths[group.name] == group.size for group in groups):
            self.run.say(f"--dcp_prune_ratio {config.dcp_prune_ratio} removes no channel: the model stays as it is")
            return
        data = self.task.load_data()
        for stage in stages:
            self._tune_block(stage, data)
            graph = ChannelGraph(self._model)
            keep = {group.name: self._prune(stage, group, widths[group.name], graph, data) for group in stage.groups}
            self._shrink(stage, keep, data)
        recalibrate_stage(self._model, self.task, data, self.run)
        train_model(self._model, self.task, data, self.run, "fine_tune", self.task.recipe.fine_tuning)

    def evaluate(self) -> dict:
        """The kept channels of each group ("plan"), and the largest error between masked and shrunk network."""
        return {"plan": self._kept, "masked_vs_shrunk": max(self._errors, default=0.0)}

    def export(self) -> keras.Model:
        return self._model

    def _tune_block(self, stage: PruneStage, data: Dataset) -> None:
        """Fine-tune the whole network on L_p + L with Adam, the head of this stage newly made."""
        name = f"{stage.name}_block"
        if stage.head_at:
            head = with_head(self._model, stage.head_at, zlib.crc32(f"{self.run.seed} {name}".encode()))
            self._model = to_training(head, self.run.precision, self.run.sync_bn)
        recipe, seed = self.task.recipe, stream_seed(self.run, name)
        optimizer = scaled_for(self.run.precision, keras.optimizers.Adam(self.config.dcp_lrn_rate_adam))
        teacher = distillation_loss(self.task, self.run.precision)
        decay, nb_heads = recipe.fine_tuning.weight_decay, 1 if stage.head_at else 0
        step = train_step(self._model, optimizer, self.task.loss, decay, teacher, nb_heads=nb_heads)

        def tune() -> None:
            fit(
                step,
                lambda first: data.train_batches(recipe.batch_size, seed, first, parallel.rank(), parallel.size()),
                self._nb_iters_block,
                self.run,
                name,
                [*self._model.variables, *optimizer.variables],
            )

        self.run.stage(name, tune, self._model.variables)

    def _prune(
        self, stage: PruneStage, group: ChannelGroup, nb_kept: int, graph: ChannelGraph, data: Dataset
    ) -> list[int]:
        """Choose the channels of one group and leave the tuned, masked kernels of its readers in the model."""
        if nb_kept == 0 or (nb_kept == group.size and not self.config.dcp_adaptive_eps):
            return list(range(nb_kept))
        name = f"{stage.name}_{group.name}"
        kernels = [self._model.get_layer(consumer).kernel for consumer in group.consumers]
        nb_picks = group.size - nb_kept if self.config.dcp_selection == "remove" else nb_kept

        def select() -> dict:
            problem = SelectionProblem(
                to_training(self._model, "float32"),
                self._reference(group.consumers),
                {consumer: graph.positions(group.name, consumer) for consumer in group.consumers},
                self.task.loss,
                self._pictures(name, data),
                self.config.dcp_lrn_rate_adam,
                self.config.dcp_loss,
            )
            if problem.nb_batches < self._nb_batches:
                self.run.say(f"{name}: memory for {problem.nb_batches} of {self._nb_batches} batches")
            with self.run.progress(f"{name}: {nb_kept} of {group.size}", 0, nb_picks) as progress:
                kept = select_channels(
                    problem,
                    nb_kept,
                    self._search(name),
                    lambda done, value: progress.advance(done, {} if math.isnan(value) else {"loss": value}),
                )
            for kernel, value in zip(kernels, problem.kernels(), strict=True):
                kernel.assign(value)
            return {"kept": kept}

        kept = self.run.stage(name, select, kernels, alone=True)["kept"]
        # The copy of the network and its traced steps hold each other, and are large.
        gc.collect()
        return kept

    def _reference(self, readers: Sequence[str]) -> keras.Model:
        """The original network up to the readers, less the channels of theirs that earlier stages removed."""
        outputs = [self._original.get_layer(name).output for name in readers]
        made = [self._graph.made(name, self._kept) for name in readers]
        kept = [keras.ops.take(output, m, axis=-1) for output, m in zip(outputs, made, strict=True)]
        return keras.Model(self._original.input, kept)

    def _search(self, name: str) -> Search:
        config = self.config
        multiple = multiple_of(config.channel_multiple)
        seed = stream_seed(self.run, name)
        return Search(config.dcp_selection, self._nb_iters_layer, config.dcp_adaptive_eps, multiple, seed)

    @property
    def _batch_size(self) -> int:
        return min(self.task.recipe.batch_size, self.config.dcp_nb_smpls)

    @property
    def _nb_batches(self) -> int:
        return self.config.dcp_nb_smpls // self._batch_size

    def _pictures(self, name: str, data: Dataset) -> Iterator:
        batches = data.train_batches(self._batch_size, stream_seed(self.run, name))
        return itertools.islice(batches, self._nb_batches)

    def _shrink(self, stage: PruneStage, keep: dict[str, list[int]], data: Dataset) -> None:
        """Replace the masked model by the smaller one of the same function; the gate stops the run if it is not."""
        if stage.head_at:
            self._model = without_head(self._model)
        exact, pictures = to_training(self._model, "float32"), data.pictures(NB_PICTURES_CHECKED, self.run.seed)
        shrunk, error = shrink_checked(exact, keep, pictures, f"after {stage.name}")
        self._errors.append(error)
        self._kept |= keep
        self._model = to_training(shrunk, self.run.precision, self.run.sync_bn)


def _first(value: int | None, default: int) -> int:
    return default if value is None else value
