"""Workers: one process each, ranks and averages in the manner of Horovod.

A single process is the only engine of this version; every call is written so that the callers need not know.
"""

import tensorflow as tf


def rank() -> int:
    """This worker's number, 0 to size() - 1."""
    return 0


def size() -> int:
    """The number of workers."""
    return 1


def is_primary() -> bool:
    """Whether this worker writes the files and prints."""
    return rank() == 0


def average(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """The mean over the workers of each tensor; call it inside a training step.

    One all-reduce takes gradients and moving statistics alike, so that the statistics of all workers stay equal.
    """
    if size() == 1:
        return tensors
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, tensors)
