"""The box projection by OSQP, the paper's solver: the reference that bisection is measured against."""

from collections.abc import Mapping

import keras
import numpy as np
import osqp
import tensorflow as tf
from scipy import sparse

from secateur.utils.errors import RunError

# Absolute, of each scalar and of their sum; at OSQP's own (1e-3, and as much of the sum) nothing becomes binary.
TOLERANCE = 1e-4
# The penalty that suits a quadratic term of ones. OSQP adapts it by default, which would be state of the solver's own.
RHO = 1.0


class OsqpProjection:
    """minimise 1/2 ||z - a||^2 subject to 0 <= z <= 1 and sum z = count, for each row of a [G, C].

    One solver for each group, set up once and warm-started with the last solution. A group that keeps all has a single
    feasible point, which OSQP may take for none, and needs no solver.

    Args:
        sizes: of the groups, by name.
        counts: of the same groups.

    Attributes:
        variables: the last solution and its multipliers, for checkpoints: all that the next one depends on.
    """

    def __init__(self, sizes: Mapping[str, int], counts: Mapping[str, int]):
        self._sizes = sizes
        self._solvers = {name: _solver(size, counts[name]) for name, size in sizes.items() if counts[name] != size}
        shape = (len(sizes), max(sizes.values()))
        last, multipliers = np.zeros(shape, np.float32), np.zeros((shape[0], shape[1] + 1), np.float32)
        self._last = keras.Variable(last, trainable=False, name="solution")
        self._multipliers = keras.Variable(multipliers, trainable=False, name="multipliers")
        self._failure = ""

    @property
    def variables(self) -> list[keras.Variable]:
        return [self._last, self._multipliers]

    def __call__(self, a_GxC: tf.Tensor, counts_G: tf.Tensor, mask_GxC: tf.Tensor) -> tf.Tensor:
        """z [G, C]; `counts_G` and `mask_GxC` are those of the set-up, as `ops.box_projection` takes them."""
        state = [tf.convert_to_tensor(variable) for variable in self.variables]
        found = tf.numpy_function(self._solve, [a_GxC, *state], [tf.float32, tf.float32], stateful=True)
        for variable, value in zip(self.variables, found, strict=True):
            variable.assign(tf.ensure_shape(value, variable.shape))
        return tf.convert_to_tensor(self._last)

    def refuse_failure(self) -> None:
        """Check the solvers after a step; what is raised inside it would not get out as it is.

        Raises:
            RunError: names the group and the way out.
        """
        if self._failure:
            raise RunError(self._failure)

    def _solve(self, a_GxC: np.ndarray, last_GxC: np.ndarray, multipliers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        projected, dual = np.zeros_like(last_GxC), np.zeros_like(multipliers)
        for row, (name, size) in enumerate(self._sizes.items()):
            solver = self._solvers.get(name)
            if solver is None:
                projected[row, :size] = 1.0
                continue
            solver.update(q=-a_GxC[row, :size].astype(np.float64))
            solver.warm_start(*(x[row].astype(np.float64) for x in (last_GxC[:, :size], multipliers[:, : size + 1])))
            found = solver.solve(raise_error=False)
            if found.info.status_val not in (1, 2):
                self._failure = f"OSQP: {found.info.status} for the scalars of {name}; take --fcf_solver bisection"
            projected[row, :size], dual[row, : size + 1] = found.x, found.y
        return projected, dual


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
        eps_rel=0.0,
        rho=RHO,
        adaptive_rho=False,
        warm_starting=True,
    )
    return solver
