"""Learner `full-prec`: plain training, the starting point of every pruning method."""

import keras

from secateur.learners.full_prec.config import FullPrecConfig
from secateur.training.run import Run
from secateur.training.task import Task
from secateur.training.train import train_dense


class FullPrecLearner:
    """Trains the task's network from scratch by its recipe."""

    needs_dense = False

    def __init__(self, config: FullPrecConfig, task: Task, run: Run):
        self.task, self.run = task, run
        self._model: keras.Model | None = None

    def train(self) -> None:
        self._model = train_dense(self.task, self.task.load_data(), self.run)

    def evaluate(self) -> dict:
        return {}

    def export(self) -> keras.Model:
        return self._model
