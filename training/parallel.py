"""Workers: one process each, ranks and averages in the manner of Horovod.

The engine is TensorFlow's `MultiWorkerMirroredStrategy` (NCCL between GPUs, a ring over gRPC between CPUs), of which
only the all-reduce is used: variables are each worker's own, equal because all begin with the same seed and apply the
same averaged gradients. Who the workers are stands in `TF_CONFIG`; without it there is one. Horovod itself no longer
builds against current TensorFlow.
"""

import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@functools.cache
def _place() -> tuple[int, int]:
    """(rank, size), from the environment that the launcher sets before the process begins."""
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    workers = config.get("cluster", {}).get("worker", [])
    return (int(config["task"]["index"]), len(workers)) if len(workers) > 1 else (0, 1)


@functools.cache
def _strategy() -> tf.distribute.Strategy:
    return tf.distribute.MultiWorkerMirroredStrategy()


def init() -> None:
    """Meet the other workers; before any other operation of TensorFlow, and harmless for one worker."""
    if size() > 1:
        _strategy()


def rank() -> int:
    """This worker's number, 0 to size() - 1."""
    return _place()[0]


def size() -> int:
    """The number of workers."""
    return _place()[1]


def local_rank() -> int:
    """This worker's number among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_primary() -> bool:
    """Whether this worker writes the files and prints."""
    return rank() == 0


def average(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """The mean over the workers of each tensor; call it inside a training step.

    One all-reduce takes gradients and moving statistics alike, so that the statistics of all workers stay equal.
    """
    return _reduced(tensors, tf.distribute.ReduceOp.MEAN)


def allreduce(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """The sum over the workers of each tensor."""
    return _reduced(tensors, tf.distribute.ReduceOp.SUM)


def broadcast(variables: Sequence[keras.Variable]) -> None:
    """Give all workers the values of the primary one."""
    if size() == 1 or not variables:  # an all-reduce of nothing is an error
        return
    tensors = [tf.convert_to_tensor(v) for v in variables]
    # Only numbers with a point are all-reduced everywhere; added to zeros they stay what they are.
    floats = [value if value.dtype.is_floating else tf.cast(value, tf.float64) for value in tensors]
    floats = floats if is_primary() else [tf.zeros_like(value) for value in floats]
    for variable, value in zip(variables, allreduce(floats), strict=True):
        variable.assign(tf.cast(value, variable.dtype))


def barrier() -> None:
    """Wait until all workers are here."""
    anywhere(False)


def anywhere(flag: bool) -> bool:
    """Whether the flag is set on any worker; the same answer on all of them."""
    if size() == 1:
        return flag
    (total,) = allreduce([tf.constant(float(flag))])
    return float(total) > 0


def from_primary(make: Callable[[], Any]) -> Any:
    """What the primary worker makes (JSON-able), on all of them.

    The others do not even look: on a network's file system who looks too early does not see a new file for a while.
    """
    if size() == 1:
        return make()
    text = json.dumps(make()).encode() if is_primary() else b""
    (length,) = allreduce([tf.constant(len(text), tf.float64)])
    letters = np.frombuffer(text.ljust(int(length), b"\0"), np.uint8)
    (summed,) = allreduce([tf.constant(letters.astype(np.float32))])
    return json.loads(summed.numpy().astype(np.uint8).tobytes())


def _reduced(tensors: list[tf.Tensor], how: tf.distribute.ReduceOp) -> list[tf.Tensor]:
    if size() == 1:
        return tensors

    def reduce(*values: tf.Tensor) -> list[tf.Tensor]:
        # The strategy reduces to the device where a tensor lies, and only what is made in here has one.
        return tf.distribute.get_replica_context().all_reduce(how, [tf.identity(value) for value in values])

    return _strategy().run(reduce, args=tuple(tensors))
