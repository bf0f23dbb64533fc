import numpy as np
import pytest

from secateur.export import EquivalenceError, check_equivalence

LOGITS = np.array([[3.0, 4.0], [-3.0, 4.0]])


def test_error_is_relative_to_the_size_of_the_logits():
    found = LOGITS.copy()
    found[1, 0] += 0.01
    assert check_equivalence("x", LOGITS, found, 1.0) == pytest.approx(0.01 / np.sqrt(12.5))
    assert check_equivalence("x", LOGITS, LOGITS, 0.0) == 0.0


@pytest.mark.parametrize("value", [3.1, np.nan, np.inf])
def test_beyond_tolerance_names_the_picture(value):
    found = LOGITS.copy()
    found[1, 0] = value
    with pytest.raises(EquivalenceError, match=r"a and b differ by .* picture 1, more than 0.001"):
        check_equivalence("a and b", LOGITS, found, 1e-3)


def test_another_shape_is_an_error():
    with pytest.raises(EquivalenceError, match=r"\(2, 2\) and \(1, 2\)"):
        check_equivalence("x", LOGITS, LOGITS[:1], 1.0)


def test_all_zero_logits_are_equal_to_themselves():
    assert check_equivalence("x", np.zeros((2, 2)), np.zeros((2, 2)), 1e-3) == 0.0


def test_a_quantile_forgives_single_pictures_but_not_most():
    expected = np.random.default_rng(0).normal(size=(9, 4))
    found = expected.copy()
    found[:4] += 10
    assert check_equivalence("forms", expected, found, 0.1, quantile=0.5) == 0
    found[4] += 10
    with pytest.raises(EquivalenceError):
        check_equivalence("forms", expected, found, 0.1, quantile=0.5)
