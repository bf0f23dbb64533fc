import numpy as np

from secateur.learners.full_prec.config import FullPrecConfig
from secateur.learners.full_prec.learner import FullPrecLearner
from tests.training.helpers import open_run, tiny_task


def trained(task, directory):
    with open_run(directory).open() as run:
        learner = FullPrecLearner(FullPrecConfig(), task, run)
        learner.train()
    return learner


def test_learns_the_toy_and_a_second_run_restores_it(tmp_path):
    task = tiny_task(nb_epochs=10)
    model = trained(task, tmp_path / "run").export()
    images, labels = next(iter(task.load_data().eval_batches(20)))
    assert np.mean(np.argmax(model(images, training=False), axis=1) == labels) > 0.6
    assert trained(task, tmp_path / "run").evaluate() == {}
    again = trained(task, tmp_path / "run").export()
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))
