"""One worker in this process; two workers in processes of their own."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from secateur.training import parallel
from secateur.utils.workers import environments

WORKER = """
import json, pathlib, sys
import numpy as np
from secateur.training import parallel
parallel.init()
import keras, tensorflow as tf
from secateur.nets.resnet import resnet
from secateur.training.layers import SynchronizedBatchNormalization
from secateur.training.loop import fit
from secateur.training.precision import to_training
from secateur.training.run import Run
from secateur.training.steps import sgd, train_step
from secateur.training.task import Recipe, cross_entropy

keras.utils.set_random_seed(0)
rank = parallel.rank()
found = {"rank": rank, "size": parallel.size(), "primary": parallel.is_primary(), "local": parallel.local_rank()}
found["mean"] = [float(v) for v in tf.function(parallel.average)([tf.constant(1.0 + rank), tf.constant(3.0)])]
found["sum"] = [float(v) for v in parallel.allreduce([tf.constant(1.0 + rank)])]
found["anywhere"] = [parallel.anywhere(rank == 1), parallel.anywhere(False)]
found["from_primary"] = parallel.from_primary(lambda: {"rank": rank, "text": "ä" * 40, "none": None})
variable = keras.Variable(np.full(2, 5.0 + rank))
batches = lambda first: tf.data.Dataset.from_tensors((0, 0)).repeat()
run = Run(pathlib.Path(sys.argv[1]).parent, {})
fit(lambda *_: {"loss": tf.constant(0.0)}, batches, 1, run, "s", [variable, keras.Variable(3, dtype="uint32")])
found["begun"] = variable.numpy().tolist()
# Only the primary worker has files; what it finds there the others get from it.
variable.assign(np.full(2, 7.0 + rank))
run.stage("done", lambda: {"kept": [1, 2]}, [variable])
variable.assign(np.zeros(2))
parallel.broadcast([])
other = Run(pathlib.Path(sys.argv[1]).parent / ("." if rank == 0 else "empty"), {})
found["restored"] = [other.stage("done", lambda: sys.exit("it ran again"), [variable]), variable.numpy().tolist()]
if rank == 0:
    run.save_checkpoint("half", 3, [keras.Variable(np.full(2, 9.0))], 1.0)
parallel.barrier()
found["checkpoint"] = [other.restore_checkpoint("half", [variable]), variable.numpy().tolist()]
model = to_training(resnet((8, 8, 1), 3, 8, (4, 6, 8)), "float32")
step = train_step(model, sgd(Recipe(1, 0.1, 1, 0.1), 0.05), cross_entropy, 1e-4)
generator = np.random.default_rng(rank)
for _ in range(4):
    images = tf.constant(generator.uniform(0, 255, (8, 8, 8, 1)).astype(np.float32))
    step(images, tf.constant(generator.integers(0, 3, 8, np.int32)))
full = np.random.default_rng(7).normal(1, 2, (8, 4, 4, 2)).astype(np.float32)


def gradient_of(norm, images):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 3), norm])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.sin(3.0 * model(images, training=True)))
    return tape.gradient(loss, model.layers[0].kernel.value), norm


gradient, norm = gradient_of(SynchronizedBatchNormalization(), full[rank::2])
(gradient,) = parallel.average([gradient])
expected, stock = gradient_of(keras.layers.BatchNormalization(), full)
found["synchronized"] = float(tf.reduce_max(tf.abs(gradient - expected)) / tf.reduce_max(tf.abs(expected)))
found["statistics"] = float(tf.reduce_max(tf.abs(norm.moving_variance - stock.moving_variance)))
parallel.barrier()
found["weights"] = [float(np.abs(w).sum()) for w in model.get_weights()]
json.dump(found, open(sys.argv[1], "w"))
"""


def test_one_process_is_a_cluster_of_one():
    assert (parallel.rank(), parallel.size(), parallel.is_primary(), parallel.local_rank()) == (0, 1, True, 0)
    tensors = [tf.constant(1.0), tf.constant([2.0])]
    assert parallel.average(tensors) is tensors
    assert parallel.allreduce(tensors) is tensors
    assert parallel.anywhere(True)
    assert parallel.from_primary(lambda: tensors) is tensors
    parallel.barrier()


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """What two workers that trained together report."""
    folder = tmp_path_factory.mktemp("workers")
    paths = [folder / f"{rank}.json" for rank in (0, 1)]
    processes = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(path)], env=os.environ | environment)
        for path, environment in zip(paths, environments(["-1", "-1"]), strict=True)
    ]
    assert [process.wait(180) for process in processes] == [0, 0]
    return [json.loads(path.read_text()) for path in paths]


def test_two_workers_meet(workers):
    assert [found["rank"] for found in workers] == [0, 1]
    assert [found["local"] for found in workers] == [0, 1]
    assert [found["primary"] for found in workers] == [True, False]
    for found in workers:
        assert found["size"] == 2
        assert found["mean"] == [1.5, 3.0]
        assert found["sum"] == [3.0]
        assert found["anywhere"] == [True, False]
        assert found["from_primary"] == {"rank": 0, "text": "ä" * 40, "none": None}
        # A stage begins with the primary worker's variables.
        assert found["begun"] == [5.0, 5.0]


def test_who_finds_no_files_gets_what_the_primary_worker_has(workers):
    for found in workers:
        assert found["restored"] == [{"kept": [1, 2]}, [7.0, 7.0]]
        assert found["checkpoint"] == [3, [9.0, 9.0]]


def test_synchronized_norms_make_one_batch_of_two(workers):
    """The gradient of a kernel before the norm, on half the pictures each, against one process with all of them."""
    for found in workers:
        assert found["synchronized"] < 1e-4
        assert found["statistics"] < 1e-5


def test_their_weights_stay_equal_on_different_pictures(workers):
    """Moving statistics too: they are averaged with the gradients."""
    np.testing.assert_array_equal(workers[0]["weights"], workers[1]["weights"])
