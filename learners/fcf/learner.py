"""Learner `fcf`: factorized convolutional filters.

Reference: Li et al., "Compressing Convolutional Neural Networks via Factorized Convolutional Filters", CVPR 2019.
Differs from the paper: with `--fcf_scope group` all filters that make one channel share a scalar, which multiplies the
kernels that read the channel (behind the batch norm, which would cancel it), so that a scalar of 0 means exactly what
shrinking does; the penalty grows to its highest value in a share of the steps, whatever their number; the scalars are
rounded once, at the end.
"""

import dataclasses
import itertools
from collections.abc import Mapping

import keras
import numpy as np

from secateur import export
from secateur.learners.fcf import convergence, ops
from secateur.learners.fcf.admm import AdmmState, Rho, admm_step, update
from secateur.learners.fcf.config import FcfConfig
from secateur.learners.fcf.counts import planned_counts
from secateur.learners.fcf.osqp_projection import OsqpProjection
from secateur.learners.fcf.scopes import Scope, scope_of
from secateur.learners.interface import NO_PLAIN_SHAPE
from secateur.pruning import ChannelGraph
from secateur.training.distillation import distillation_loss
from secateur.training.loop import fit
from secateur.training.precision import to_training
from secateur.training.pretrained import load_pretrained
from secateur.training.recalibrate import NB_BATCHES, recalibrate, recalibrate_stage
from secateur.training.run import Run
from secateur.training.task import Dataset, Phase, Task
from secateur.training.train import course_of, stream_seed, train_model

# Of the fine-tuning's epochs, for the joint training.
SHARE_OF_TUNING = 0.25
# Flags of what comes after a stage: runs that differ in these alone share it.
LATER_FLAGS = {"admm": ("fcf_nb_epochs_ft", "fcf_form"), "fine_tune": ("fcf_form",)}
# Points of the drawing of the scalars' convergence.
NB_POINTS = 100


class FcfLearner:
    """Learns which filters stay, together with the weights, by ADMM; then removes the others and trains on."""

    needs_dense = True

    def __init__(self, config: FcfConfig, task: Task, run: Run):
        self.config, self.task, self.run = config, task, run
        self._facts: dict = {}

    @staticmethod
    def refused_controls(config: FcfConfig) -> dict[str, str]:
        return {"scratch": NO_PLAIN_SHAPE} if config.fcf_scope == "filter" else {}

    def train(self) -> None:
        dense = load_pretrained(self.task)
        self._model = to_training(dense, self.run.precision, self.run.sync_bn)
        if not self.config.target and self.config.fcf_prune_ratio == 0:
            self.run.say("--fcf_prune_ratio 0.0 removes no filter: the model stays as it is")
            return
        data = self.task.load_data()
        pictures = data.pictures(export.NB_PICTURES_CHECKED, self.run.seed)
        scope = scope_of(self.config, ChannelGraph(dense))
        magnitudes = scope.magnitudes()
        counts = self.run.stage(
            "counts", lambda: planned_counts(self.config, dense, magnitudes, self.run.directory / "widths"), alone=True
        )
        kept = self._train_scalars(scope, magnitudes, counts, data)
        unsqueezed = scope.unsqueezed(self._model, kept)
        pruned, error = scope.pruned(self._model, kept, pictures)
        self._model = to_training(pruned, self.run.precision, self.run.sync_bn)
        recalibrate_stage(self._model, self.task, data, self.run)
        before = self.run.stage("before", lambda: self._before_tuning(unsqueezed, data), alone=True)
        phase = self._phase(self.config.fcf_nb_epochs_ft, 1.0)
        replaced, key = scope.replaced(self._model, kept), self._key("fine_tune")
        train_model(self._model, self.task, data, self.run, "fine_tune", phase, replaced=replaced, key=key)
        self._model, facts = scope.finished(self._model, kept, pictures, self.run)
        self._facts = {"masked_vs_shrunk": error, "before_fine_tuning": before} | scope.plan(kept) | facts

    def evaluate(self) -> dict:
        """The kept channels ("plan") or filters, the accuracy before fine-tuning, what the equality gates saw."""
        return dict(self._facts)

    def export(self) -> keras.Model:
        return self._model

    def _train_scalars(
        self, scope: Scope, magnitudes: Mapping[str, np.ndarray], counts: dict[str, int], data: Dataset
    ) -> dict[str, list[int]]:
        """The joint training of weights and scalars; the rows' kept channels."""
        config, phase = self.config, self._phase(self.config.fcf_nb_epochs, SHARE_OF_TUNING)
        course = course_of(self.task, data, self.run, "admm", phase)
        nb_steps, optimizer = course.nb_steps, course.optimizer
        state = AdmmState([magnitudes[name] for name in scope.rows], [counts[name] for name in scope.rows])
        sizes = {name: len(magnitudes[name]) for name in scope.rows}
        osqp = OsqpProjection(sizes, counts) if config.fcf_solver == "osqp" else None
        solve = osqp or ops.box_projection
        rho = Rho(config.fcf_rho_init, config.fcf_rho_max, round(config.fcf_rho_share * nb_steps))
        step = admm_step(
            self._model,
            scope.gates(self._model),
            state,
            optimizer,
            self.task.loss,
            phase.weight_decay,
            lambda gradient: update(
                state, gradient, solve, rho(state.steps.value), config.fcf_lrn_rate, config.fcf_alpha
            ),
            distillation_loss(self.task, self.run.precision),
        )
        every = max(nb_steps // NB_POINTS, 1)

        def look(done: int) -> None:
            if osqp:
                osqp.refuse_failure()
            if done % every == 0:
                convergence.log(self.run, scope.rows, state, done)

        def train() -> dict:
            variables = [*self._model.variables, *optimizer.variables, *state.variables]
            variables += osqp.variables if osqp else []
            fit(step, course.batches, nb_steps, self.run, "admm", variables, [look])
            convergence.refuse_undecided(scope.rows, counts, state)
            kept = dict(zip(scope.rows, [channels.tolist() for channels in state.kept()], strict=True))
            charts = convergence.charts(self.run)
            return {"kept": kept, "epochs": phase.nb_epochs, "steps": nb_steps, "charts": charts}

        done = self.run.stage("admm", train, self._model.variables, key=self._key("admm"))
        for name, picture in done.get("charts", {}).items():
            self.run.write(name, picture)
        return done["kept"]

    def _key(self, stage: str) -> list:
        """All that decides what a stage does: another form is another run, which finds the fine-tuning done."""
        own = dataclasses.asdict(self.config)
        return [self.run.config | {"config": {k: v for k, v in own.items() if k not in LATER_FLAGS[stage]}}]

    def _phase(self, nb_epochs: float | None, share: float) -> Phase:
        phase = self.task.recipe.fine_tuning
        return dataclasses.replace(phase, nb_epochs=share * phase.nb_epochs if nb_epochs is None else nb_epochs)

    def _before_tuning(self, unsqueezed: keras.Model | None, data: Dataset) -> dict:
        """The accuracy before fine-tuning, and what it would be if blocks still read what others only pass on."""
        found = {"accuracy": self._accuracy(self._model, data)}
        if unsqueezed is not None:
            seed = stream_seed(self.run, "unsqueezed")
            recalibrate(unsqueezed, itertools.islice(data.train_batches(self.task.recipe.batch_size, seed), NB_BATCHES))
            found["accuracy_unsqueezed"] = self._accuracy(unsqueezed, data)
        return found

    def _accuracy(self, model: keras.Model, data: Dataset) -> float:
        batches = data.eval_batches(self.task.recipe.batch_size_eval)
        return export.evaluate_keras(to_training(model, "float32"), batches)["accuracy"]
