"""Learner `chn-pruned`: channel pruning by a criterion, the practical default and the honest baseline.

References: Li et al. 2017 (L1 norm), Liu et al. 2017 (Network Slimming), He et al. 2019 (geometric median), Molchanov
et al. 2019 (first-order Taylor). Differs from the papers: a channel's score joins all layers that make it, so that
channels which an addition ties together go together; each round really shrinks the network.
"""

import dataclasses
import fnmatch
import functools
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from secateur import export
from secateur.datasets.arrays import take
from secateur.learners.chn_pruned import ops
from secateur.learners.chn_pruned.allocation import RANKINGS, allocate
from secateur.learners.chn_pruned.config import ChnPrunedConfig
from secateur.learners.chn_pruned.criteria import norms_of, scores_of
from secateur.learners.chn_pruned.sensitivity import scan, sensitivity_widths
from secateur.pruning import ChannelGraph, ChannelGroup
from secateur.pruning.summary import reasons
from secateur.pruning.widths import Family
from secateur.training.precision import to_training
from secateur.training.pretrained import load_pretrained
from secateur.training.recalibrate import recalibrate_stage
from secateur.training.run import Run
from secateur.training.task import Dataset, Task
from secateur.training.train import stream_seed, train_model
from secateur.utils.errors import UsageError


class ChnPrunedLearner:
    """Ranks the channels by a criterion, removes the least, trains what is left."""

    needs_dense = True

    def __init__(self, config: ChnPrunedConfig, task: Task, run: Run):
        self.config, self.task, self.run = config, task, run
        self._plan: dict[str, list[int]] = {}
        self._errors: list[float] = []

    def train(self) -> None:
        dense = load_pretrained(self.task)
        self._model = to_training(dense, self.run.precision, self.run.sync_bn)
        if self.config.target is None and self.config.chn_prune_ratio == 0:
            self.run.say("--chn_prune_ratio 0.0 removes no channel: the model stays as it is")
            return
        data, config = self.task.load_data(), self.config
        if config.chn_bn_l1:
            norms = self._norms(ChannelGraph(dense))
            self._train("sparse", config.chn_nb_epochs_bn_l1, data, dict.fromkeys(norms, config.chn_bn_l1))
        for k in range(1, config.chn_nb_rounds + 1):
            self._prune(k, dense, data)
            if k < config.chn_nb_rounds:
                self._train(f"round{k}", config.chn_nb_epochs_round, data)
        recalibrate_stage(self._model, self.task, data, self.run)
        self._train("fine_tune", self.task.recipe.nb_epochs_ft, data)

    def evaluate(self) -> dict:
        """The kept channels of each group ("plan"), and the largest error between masked and shrunk network."""
        return {"plan": self._plan, "masked_vs_shrunk": max(self._errors, default=0.0)}

    def export(self) -> keras.Model:
        return self._model

    def _train(self, stage: str, nb_epochs: float, data: Dataset, norm_l1: Mapping[str, float] | None = None) -> None:
        phase = dataclasses.replace(self.task.recipe.fine_tuning, nb_epochs=nb_epochs)
        train_model(self._model, self.task, data, self.run, stage, phase, norm_l1)

    def _prune(self, index: int, dense: keras.Model, data: Dataset) -> None:
        """One round: rank, allocate, shrink."""
        exact = to_training(self._model, "float32")
        graph = ChannelGraph(exact)
        groups = self._groups(graph)

        def choose() -> dict:
            scores = scores_of(self.config.chn_criterion, graph, groups, self.task, self._batches(data), self.run.seed)
            part = index / self.config.chn_nb_rounds
            family = self._family(index, graph, scores, data)
            widths = allocate(self.config, part, dense, exact, scores, family, self.run.directory / "widths")
            return {"keep": {name: ops.best(values, widths[name]) for name, values in scores.items()}}

        keep = self.run.stage(f"prune{index}", choose, alone=True)["keep"]
        pictures = data.pictures(export.NB_PICTURES_CHECKED, self.run.seed)
        shrunk, error = export.shrink_checked(exact, keep, pictures, f"after round {index}")
        self._errors.append(error)
        for name, channels in keep.items():
            # What is left of a group is numbered anew in each round; the plan numbers the dense network's channels.
            before = self._plan.get(name)
            self._plan[name] = [before[k] for k in channels] if before else channels
        self._model = to_training(shrunk, self.run.precision, self.run.sync_bn)

    def _family(self, index: int, graph: ChannelGraph, scores: dict[str, np.ndarray], data: Dataset) -> Family:
        """What the ranking makes of the scores: a share to the widths of all groups."""
        ranking = self.config.chn_ranking
        if ranking == "global" and self.config.chn_criterion == "bn":
            ranking = "slimming"
        if ranking != "sensitivity":
            return functools.partial(RANKINGS[ranking], scores)

        def measure() -> dict:
            pictures = take(self._training(data, "sensitivity"), self.config.chn_nb_smpls // self._batch_size)
            with self.run.progress("sensitivity", 0, len(scores)) as progress:
                return scan(
                    graph, scores, self.task.loss, pictures, lambda k, rise: progress.advance(k, {"rise": rise})
                )

        return functools.partial(sensitivity_widths, self.run.shared("sensitivity", self._scan_key(index), measure))

    def _scan_key(self, index: int) -> list:
        """All that decides a round's scan. The first one sees no training, so later runs find it for every target."""
        if index > 1 or self.config.chn_bn_l1:
            return [self.run.config, dataclasses.asdict(self.config), index]
        names = ("chn_criterion", "chn_scope", "chn_nb_smpls", "skip_layers")
        settings = [getattr(self.config, name) for name in names]
        begins_with = [self.run.config.get(name) for name in ("start", "data", "loss")]
        return [begins_with, settings, self._batch_size, self.run.seed]

    def _norms(self, graph: ChannelGraph) -> list[str]:
        """The batch norms whose scales `--chn_bn_l1` makes sparse."""
        norms = [norm.name for group in self._groups(graph) for norm in norms_of(graph, group)]
        if not norms:
            raise UsageError(
                f"--chn_bn_l1 {self.config.chn_bn_l1}: no group that is pruned has a batch norm with a scale: leave it "
                "out"
            )
        return norms

    def _groups(self, graph: ChannelGraph) -> list[ChannelGroup]:
        """What may be pruned: the scope's groups, less those that a protected layer makes, passes on or reads.

        Raises:
            UsageError: nothing, or a pattern that fits no layer.
        """
        patterns = [p.strip() for p in (self.config.skip_layers or "").split(",") if p.strip()]
        names = [layer.name for layer in graph.model.layers]
        for pattern in patterns:
            if not fnmatch.filter(names, pattern):
                raise UsageError(f"--skip_layers {pattern}: no layer of {graph.model.name} has such a name")

        def protected(group: ChannelGroup) -> bool:
            touched = (*group.producers, *group.consumers, *group.members)
            return any(fnmatch.filter(touched, pattern) for pattern in patterns)

        found = [
            group
            for group in graph.groups.values()
            if group.prunable and not protected(group) and (self.config.chn_scope == "all" or not group.passes_add)
        ]
        if not found:
            raise UsageError(
                f"{graph.model.name} has no channel group that may be pruned with --chn_scope {self.config.chn_scope} "
                f"and the --skip_layers given; {reasons(graph.groups)}"
            )
        return found

    @property
    def _batch_size(self) -> int:
        return min(self.task.recipe.batch_size, self.config.chn_nb_smpls)

    def _training(self, data: Dataset, purpose: str) -> Iterable:
        return data.train_batches(self._batch_size, stream_seed(self.run, purpose))

    def _batches(self, data: Dataset) -> list:
        """What the criterion reads."""
        if self.config.chn_criterion != "taylor":
            return []
        return take(self._training(data, "taylor"), self.config.chn_nb_smpls // self._batch_size)
