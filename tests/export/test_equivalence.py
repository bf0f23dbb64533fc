import numpy as np
import pytest

from secateur.export import (
    EquivalenceError,
    check_equivalence,
    check_same_logits,
    equivalence,
    logits_of,
    share_of_flips,
)

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


def test_batches_make_up_the_whole(monkeypatch):
    monkeypatch.setattr(equivalence, "NB_PICTURES_AT_ONCE", 4)
    pictures, sizes = np.random.default_rng(0).normal(size=(10, 3)), []

    def model(batch, training):
        assert not training
        sizes.append(len(batch))
        return 2 * batch

    np.testing.assert_array_equal(logits_of(model, pictures), 2 * pictures)
    assert sizes == [4, 4, 2]


def test_two_models_are_compared_at_the_tolerance_of_shrinking():
    def model(error):
        return lambda batch, training: batch * (1 + error)

    pictures = np.ones((40, 3))
    assert check_same_logits("x", model(0), model(1e-5), pictures) == pytest.approx(1e-5)
    with pytest.raises(EquivalenceError, match="a and b differ"):
        check_same_logits("a and b", model(0), model(1e-3), pictures)


def test_all_zero_logits_are_equal_to_themselves():
    assert check_equivalence("x", np.zeros((2, 2)), np.zeros((2, 2)), 1e-3) == 0.0


def test_flips_are_the_pictures_beyond_the_tolerance():
    expected = np.random.default_rng(0).normal(size=(8, 4))
    found = expected + 1e-4
    assert share_of_flips(expected, found, 0.01) == 0
    found[2, 1] += 1
    found[5] = np.nan
    assert share_of_flips(expected, found, 0.01) == 2 / 8


def test_a_quantile_forgives_single_pictures_but_not_most():
    expected = np.random.default_rng(0).normal(size=(9, 4))
    found = expected.copy()
    found[:4] += 10
    assert check_equivalence("forms", expected, found, 0.1, quantile=0.5) == 0
    found[4] += 10
    with pytest.raises(EquivalenceError):
        check_equivalence("forms", expected, found, 0.1, quantile=0.5)
