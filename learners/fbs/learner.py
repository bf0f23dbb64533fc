"""Learner `fbs`: feature boosting and suppression.

Reference: Gao et al., "Dynamic Channel Pruning: Feature Boosting and Suppression", ICLR 2019. Differs from the paper:
the norms of the trained network keep their scales; the predictors begin at random, with saliencies around 1, and read
what distinguishes pictures (`ChannelPruning.calibrate`); first they are trained alone, then everything, at densities
that fall in steps, the first one below 1; unless `fbs_normalize` is "paper" the gates are saliencies over their mean; a
loss may bring all channels into use (`fbs_balance`, of the authors' program).
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from secateur import export
from secateur.export.forms import forms_in_integers
from secateur.learners.fbs import choice, gated, skipping, structure
from secateur.learners.fbs.config import FbsConfig
from secateur.learners.fbs.counting import Count, count
from secateur.learners.fbs.picture import fired_svg, histogram_svg
from secateur.learners.interface import NO_PLAIN_SHAPE
from secateur.pruning.blocks import is_plain
from secateur.pruning.calls import record
from secateur.training.loop import begin_alike
from secateur.training.precision import to_training
from secateur.training.pretrained import load_pretrained, load_saved
from secateur.training.run import Run
from secateur.training.task import Dataset, Phase, Task
from secateur.training.train import stream_seed, train_model
from secateur.utils.errors import UsageError

# Of the fine-tuning's epochs: each density on the way, and the predictors alone.
SHARE_OF_TUNING = 1 / 20
# Of the fine-tuning's learning rate, on the way to the density.
SHARE_OF_RATE = 0.3
NB_BATCHES = 8


class FbsLearner:
    """Gates every convolution, lowers the density step by step, fine-tunes at the last one."""

    needs_dense = True

    def __init__(self, config: FbsConfig, task: Task, run: Run):
        self.config, self.task, self.run = config, task, run
        self._facts: dict = {}

    @staticmethod
    def check(config: FbsConfig, task: Task) -> None:
        """Raise a UsageError for what can be told before anything is trained."""
        network = _warm_start(config, task) or task.build_model()
        if not structure.units(network, config.fbs_scope):
            number = sum(isinstance(call.layer, keras.layers.Conv2D) for call in record(network).calls)
            raise UsageError(
                f"--learner fbs: none of the {number} Conv2D layers of {network.name} can be gated: one needs a "
                "BatchNormalization that alone reads it, and no groups, dilation, unequal strides or activation of its "
                "own; write the network so or choose another learner"
                if not structure.units(network)
                else f"--fbs_scope block: {network.name} has no convolution inside a block that can be gated; choose "
                "--fbs_scope all"
            )

    @staticmethod
    def refused_controls(config: FbsConfig) -> dict[str, str]:
        earlier = "how long the model that --warm_start names was trained is not known"
        return {"scratch": NO_PLAIN_SHAPE} | ({"dense_same_budget": earlier} if config.warm_start else {})

    def train(self) -> None:
        config, data = self.config, self.task.load_data()
        self.check(config, self.task)
        self._start = _warm_start(config, self.task) or load_pretrained(self.task)
        training, scope = to_training(self._start, self.run.precision, self.run.sync_bn), config.fbs_scope
        self._model = gated.gated(training, 1.0, config.fbs_normalize, config.fbs_l1, config.fbs_balance, scope)
        gates, plain = gated.gate_layers(self._model), [c for c in record(self._start).calls if is_plain(c.layer)]
        self.run.say(f"{len(gates)} of {len(plain)} convolutions are gated")
        self.run.stage("calibrate", lambda: self._calibrate(data), self._model.variables)
        *steps, last = densities = config.densities()
        on_the_way = self._phase(self._epochs(config.fbs_nb_epochs_warm_up), SHARE_OF_RATE)
        self._train("warm_up", on_the_way, densities[0], data, self._predictors())
        on_the_way = self._phase(self._epochs(config.fbs_nb_epochs_step), SHARE_OF_RATE)
        for density in steps:
            self._train(f"density_{density:g}", on_the_way, density, data)
        self._train("fine_tune", self.task.recipe.fine_tuning, last, data)
        self._exact = gated.copied(self._model, to_training(self._start, "float32"), config.fbs_normalize, scope)
        self._export(data)
        self._count(data)
        chosen = self.run.stage("forms", lambda: choice.fastest(self._exact, self.run.directory / "forms"), alone=True)
        self._forms = chosen["forms"]
        self._facts |= chosen | {"macs": choice.executed_macs(self._exact, self._forms)}
        self._facts["layer_costs"] = {
            name.removesuffix(gated.SUFFIX): {"macs": row["macs"], **_milliseconds(name, chosen)}
            for name, row in self._facts["layers"].items()
        }

    def evaluate(self) -> dict:
        """Multiply-accumulates per picture and layer ("macs_method" is their mean), what the equality gate saw."""
        return dict(self._facts)

    def export(self) -> keras.Model:
        return self._stock

    def export_lite(self, ranges_of: np.ndarray | None = None) -> keras.Model:
        if ranges_of is None:
            return skipping.build(self._exact, self._forms)
        largest = gated.divisors(self._exact, ranges_of)
        folder, build = self.run.directory / "forms", lambda forms: skipping.build(self._exact, forms, largest)
        forms, self._facts["int8_whole"] = forms_in_integers(build, self._forms, ranges_of, folder)
        return build(forms)

    def margins(self, pictures: np.ndarray) -> np.ndarray:
        return gated.margins(self._exact, pictures)

    def _epochs(self, asked: float | None) -> float:
        return SHARE_OF_TUNING * self.task.recipe.nb_epochs_ft if asked is None else asked

    def _predictors(self) -> list[keras.Variable]:
        return [weight for gate in gated.gate_layers(self._model) for weight in (gate.phi, gate.rho)]

    def _calibrate(self, data: Dataset) -> None:
        begin_alike(self.run, "calibrate", self._model.variables)
        seed, size = stream_seed(self.run, "calibrate"), self.task.recipe.batch_size
        batches = itertools.islice(data.train_batches(size, seed), NB_BATCHES)
        gated.calibrate(self._model, (images for images, _ in batches), seed)

    def _phase(self, nb_epochs: float, share_of_rate: float) -> Phase:
        phase = self.task.recipe.fine_tuning
        return dataclasses.replace(phase, nb_epochs=nb_epochs, learning_rate=share_of_rate * phase.learning_rate)

    def _train(
        self,
        stage: str,
        phase: Phase,
        density: float,
        data: Dataset,
        trained: Sequence[keras.Variable] | None = None,
    ) -> None:
        """One cycle of the learning rate at one density, of the whole network or of some variables alone."""
        for gate in gated.gate_layers(self._model):
            gate.set_density(density)
        train_model(self._model, self.task, data, self.run, stage, phase, trained=trained)

    def _export(self, data: Dataset) -> None:
        pictures = data.pictures(export.NB_PICTURES_CHECKED, self.run.seed)
        self._stock = export.to_stock(gated.stock(self._exact))
        logits = export.logits_of(self._exact, pictures), export.logits_of(self._stock, pictures)
        title, tolerance = "gated network and its stock form", export.SHRUNK_TOLERANCE
        self._facts["masked_vs_shrunk"] = export.check_decisions(title, *logits, tolerance, self.margins(pictures))
        self._facts["masked_vs_shrunk_flips"] = export.share_of_flips(*logits, tolerance)

    def _count(self, data: Dataset) -> None:
        labels = list(data.labels)
        found: Count = count(self._exact, data.eval_batches(self.task.recipe.batch_size_eval), len(labels))
        quantiles = np.quantile(found.per_picture, (0.0, 0.1, 0.5, 0.9, 1.0)).tolist()
        self._facts["macs_method"] = float(found.per_picture.mean())
        self._facts["macs_quantiles"] = dict(zip(("least", "p10", "median", "p90", "most"), quantiles, strict=True))
        self._facts["layers"] = found.layers
        self._facts["dynamic_share"] = found.dynamic_share
        alike = sum(share == 0 for share in found.dynamic_share.values())
        self.run.say(f"in {alike} of {len(found.dynamic_share)} layers the same channels win for every picture")
        self.run.write("fired.svg", fired_svg(found.fired, labels))
        self.run.write("macs.svg", histogram_svg(found.per_picture))


def _milliseconds(gate: str, chosen: dict) -> dict[str, float]:
    """What the form of a gate takes alone; nothing for other layers."""
    times = chosen["milliseconds"].get(gate, {})
    return {"ms": times[chosen["forms"][gate]]} if times else {}


def _warm_start(config: FbsConfig, task: Task) -> keras.Model | None:
    """The model that `--warm_start` names, None where it names none.

    Raises:
        UsageError: it takes other pictures or gives other classes than the task's network.
        RunError: not a readable `.keras` file.
    """
    if config.warm_start is None:
        return None
    model, network = load_saved(pathlib.Path(config.warm_start)), task.build_model()
    shapes, expected = ((m.input_shape[1:], m.output_shape[1:]) for m in (model, network))
    if shapes != expected:
        raise UsageError(
            f"--warm_start {config.warm_start}: goes from {shapes[0]} to {shapes[1]}, {task.name} from {expected[0]} "
            f"to {expected[1]}; name a model that was made for this task"
        )
    return model
