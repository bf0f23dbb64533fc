"""Learner `stripe`: stripe-wise pruning.

Reference: Meng et al., "Pruning Filter in Filter", NeurIPS 2020. Differs from the paper: it may begin with a trained
network, whose skeletons begin as the lengths of its stripes; with `--stripe_target_macs` the threshold follows a
schedule in place of being fixed, and nothing dies after the ramp; with `--stripe_target_latency` filters inside blocks
die as a whole until so much LiteRT time is left; dead filters inside blocks leave the network, and for
what remains the exporter takes the form that LiteRT runs fastest.
"""

import keras
import numpy as np

from secateur import export
from secateur.export.forms import forms_in_integers
from secateur.learners.interface import NO_PLAIN_SHAPE
from secateur.learners.stripe import rebuild
from secateur.learners.stripe.checks import check_epochs, check_target, phase_of
from secateur.learners.stripe.config import StripeConfig
from secateur.learners.stripe.picture import shapes_svg
from secateur.learners.stripe.skeletons import Skeletons
from secateur.learners.stripe.step import stripe_step, trained_weights
from secateur.learners.stripe.targets import EVERY, Targets, widths_for
from secateur.pruning import ChannelGraph, shrink
from secateur.pruning.blocks import classifiers, is_plain
from secateur.pruning.calls import functional
from secateur.training.distillation import distillation_loss
from secateur.training.loop import fit
from secateur.training.precision import to_training
from secateur.training.pretrained import load_pretrained
from secateur.training.run import Run
from secateur.training.task import Dataset, Task
from secateur.training.train import course_of, stream_seed
from secateur.utils.errors import RunError, UsageError

# Of the scales of the norms, where training begins with random weights.
FIRST_GAMMA = 0.5


class StripeLearner:
    """Trains weights and filter skeletons, removes what died, writes the rest in its fastest form."""

    needs_dense = True

    def __init__(self, config: StripeConfig, task: Task, run: Run):
        self.config, self.task, self.run = config, task, run
        self._facts: dict = {}

    @staticmethod
    def check(config: StripeConfig, task: Task) -> None:
        """Raise a UsageError for what can be told before anything is trained."""
        check_epochs(config, task)
        graph = ChannelGraph(task.build_model())
        if not any(is_plain(layer) for layer in graph.model.layers):
            raise UsageError(
                f"--learner stripe: {graph.model.name} has no Conv2D layer of one group, channels last, whose filters "
                "could have stripes; choose another learner"
            )
        check_target(config, Skeletons(graph, graph.model, from_norms=False))

    @staticmethod
    def refused_controls(config: StripeConfig) -> dict[str, str]:
        anew = "the pruned network is trained from random weights and no longer than the dense one"
        return {"scratch": NO_PLAIN_SHAPE} | ({"dense_same_budget": anew} if config.begins_anew else {})

    def train(self) -> None:
        config, data = self.config, self.task.load_data()
        check_epochs(config, self.task)
        dense = self._random_network() if config.begins_anew else load_pretrained(self.task)
        graph = ChannelGraph(dense)
        model = to_training(dense, self.run.precision, self.run.sync_bn)
        skeletons = Skeletons(graph, model, from_norms=not config.begins_anew)
        self._train(graph, model, skeletons, data)
        masked = rebuild.folded(model, skeletons)
        pictures = data.pictures(export.NB_PICTURES_CHECKED, self.run.seed)
        plans = {multiple: rebuild.plan(graph, skeletons, multiple) for multiple in export.MULTIPLES}
        chosen = self.run.stage(
            "forms", lambda: rebuild.fastest(masked, plans, self.run.directory / "forms"), alone=True
        )
        plan = plans[chosen["multiple"]]
        small = shrink(masked, plan)
        error = export.check_same_logits("network with dead filters and without them", masked, small, pictures)
        self._small, self._forms = small, chosen["forms"]
        self._model = rebuild.build(small, self._forms)
        exact = export.check_same_logits("network and its stripe form", small, self._model, pictures)
        self._facts = {
            "plan": plan,
            "masked_vs_shrunk": max(error, exact),
            "macs_method": skeletons.macs(),
            "params_method": rebuild.method_params(shrink(masked, plans[1])),
            **chosen,
            "live_stripes": {name: float(live.mean()) for name, live in skeletons.computed().items()},
        }
        self.run.write("shapes.svg", shapes_svg(skeletons.computed()))

    def evaluate(self) -> dict:
        """The kept channels ("plan"), the share of live stripes and the form of each layer, the method's counts."""
        return dict(self._facts)

    def export(self) -> keras.Model:
        return self._model

    def export_lite(self, ranges_of: np.ndarray | None = None) -> keras.Model:
        if ranges_of is None:
            return self._model
        folder, build = self.run.directory / "forms", lambda forms: rebuild.build(self._small, forms)
        forms, self._facts["int8_whole"] = forms_in_integers(build, self._forms, ranges_of, folder)
        return build(forms)

    def _random_network(self) -> keras.Model:
        """The same random network on every worker, and in a process that was started again."""
        keras.utils.set_random_seed(stream_seed(self.run, "stripe"))
        return fresh(functional(self.task.build_model()))

    def _train(self, graph: ChannelGraph, model: keras.Model, skeletons: Skeletons, data: Dataset) -> None:
        config, phase = self.config, phase_of(self.config, self.task)
        course = course_of(self.task, data, self.run, "stripe", phase)
        nb_steps, optimizer = course.nb_steps, course.optimizer
        strength = keras.Variable(config.stripe_sr, trainable=False, name="strength")
        trained = trained_weights(model, config.stripe_freeze_weights, classifiers(graph.record))
        step = stripe_step(
            model,
            skeletons,
            trained,
            optimizer,
            self.task.loss,
            phase.weight_decay,
            strength,
            0.0 if config.stripe_target_macs else config.stripe_threshold,
            distillation_loss(self.task, self.run.precision),
        )
        check_target(config, skeletons)
        widths = self._widths(graph.model, skeletons) if config.stripe_target_latency else {}
        targets = Targets(config, skeletons, widths, nb_steps)

        def keep_to_targets(done: int) -> None:
            targets.look(done)
            if config.stripe_target_macs and done == targets.schedule.end:
                strength.assign(0.0)
                if reason := targets.missed():
                    self.run.say(reason)
            if done % EVERY == 0 or done == nb_steps:
                self._refuse_dead_ends(skeletons, done)
            if done % self.run.summ_step == 0:
                self.run.log("stripe", done, {"macs_share": targets.macs_share()})

        def train() -> dict:
            state = [*model.variables, *optimizer.variables, *skeletons.variables, strength]
            fit(step, course.batches, nb_steps, self.run, "stripe", state, [keep_to_targets])
            return {"epochs": phase.nb_epochs, "steps": nb_steps}

        self.run.stage("stripe", train, [*model.variables, *skeletons.variables])

    def _widths(self, dense: keras.Model, skeletons: Skeletons) -> dict[str, int]:
        share, folder = self.config.stripe_target_latency, self.run.directory / "widths"
        return self.run.stage("widths", lambda: widths_for(share, dense, skeletons, folder), alone=True)

    def _refuse_dead_ends(self, skeletons: Skeletons, done: int) -> None:
        """Check that the output still depends on the input.

        Raises:
            RunError: names the layers.
        """
        dead = skeletons.dead_ends()
        if dead:
            raise RunError(
                f"{', '.join(dead)}: no stripe is left after {done} steps, and nothing leads around; lower "
                "--stripe_threshold, --stripe_sr or --weight_decay, or set --stripe_target_macs, which keeps one"
            )


def fresh(model: keras.Model) -> keras.Model:
    """The random network with the scales of its norms at one half, as the paper begins."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.scale:
            layer.gamma.assign(keras.ops.full_like(layer.gamma, FIRST_GAMMA))
    return model
