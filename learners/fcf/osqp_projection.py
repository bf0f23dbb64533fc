"""The box projection by OSQP, the paper's solver: the reference that bisection is measured against."""

import numpy as np
import osqp
import tensorflow as tf
from scipy import sparse

from secateur.utils.errors import RunError

# Looser than OSQP's defaults nothing becomes binary; tighter costs time.
TOLERANCE = 1e-4


class OsqpProjection:
    """minimise 1/2 ||z - a||^2 subject to 0 <= z <= 1 and sum z = count, for each row of a [G, C].

    One solver for each group, set up once and warm-started with the last solution.
    """

    def __init__(self, sizes: list[int], counts: list[int]):
        self._sizes = sizes
        self._solvers = [_solver(size, count) for size, count in zip(sizes, counts, strict=True)]

    def __call__(self, a_GxC: tf.Tensor, counts_G: tf.Tensor, mask_GxC: tf.Tensor) -> tf.Tensor:
        """z [G, C]; `counts_G` and `mask_GxC` are those of the set-up, as `ops.box_projection` takes them."""
        projected = tf.numpy_function(self._solve, [a_GxC], tf.float32, stateful=True)
        return tf.ensure_shape(projected, a_GxC.shape)

    def _solve(self, a_GxC: np.ndarray) -> np.ndarray:
        projected = np.zeros_like(a_GxC)
        for row, (size, solver) in enumerate(zip(self._sizes, self._solvers, strict=True)):
            solver.update(q=-a_GxC[row, :size].astype(np.float64))
            found = solver.solve(raise_error=False)
            if found.info.status_val not in (1, 2):
                raise RunError(f"OSQP: {found.info.status} for the scalars of group {row}; take --fcf_solver bisection")
            projected[row, :size] = found.x
        return projected


def _solver(size: int, count: int) -> osqp.OSQP:
    solver = osqp.OSQP()
    rows = sparse.vstack([sparse.eye(size), np.ones((1, size))], format="csc")
    lower, upper = np.append(np.zeros(size), count), np.append(np.ones(size), count)
    solver.setup(
        P=sparse.eye(size, format="csc"),
        q=np.zeros(size),
        A=rows,
        l=lower,
        u=upper,
        verbose=False,
        eps_abs=TOLERANCE,
        eps_rel=TOLERANCE,
        warm_starting=True,
    )
    return solver
