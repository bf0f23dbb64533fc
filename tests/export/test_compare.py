import math

import numpy as np
import pytest

from secateur.export import paired


def hits(only_a: int, only_b: int, both: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, False, True], [only_a, only_b, both])
    b = np.repeat([False, True, True], [only_a, only_b, both])
    return a, b


def test_p_is_the_two_sided_binomial():
    found = paired(*hits(only_a=9, only_b=3, both=88))
    expected = 2 * sum(math.comb(12, k) for k in range(4)) / 2**12
    assert found == {"only_a": 9, "only_b": 3, "points": -6.0, "p": pytest.approx(expected)}


def test_equal_models_do_not_differ():
    assert paired(*hits(0, 0, 5)) == {"only_a": 0, "only_b": 0, "points": 0.0, "p": 1.0}
    assert paired(*hits(4, 4, 0))["p"] == 1.0
