import numpy as np
import pytest

from secateur.export import EquivalenceError
from secateur.export.decisions import NEAR_TIE, check_decisions, compared_accuracies, decision_facts

EXPECTED = np.random.default_rng(0).normal(size=(9, 4))
CLEAR, TIE = 10 * NEAR_TIE, NEAR_TIE / 10


def differing(*pictures):
    found = EXPECTED + 1e-6
    found[list(pictures)] += 10
    return found


def test_pictures_with_a_near_tie_may_differ():
    margins = np.where(np.isin(np.arange(9), (2, 5)), TIE, CLEAR)
    assert check_decisions("forms", EXPECTED, differing(2, 5), 0.1, margins) == pytest.approx(1e-6, rel=0.5)


def test_a_picture_without_one_may_not_and_is_named():
    margins = np.where(np.isin(np.arange(9), (2, 5)), TIE, CLEAR)
    with pytest.raises(EquivalenceError, match=r"forms differ by .* on picture 6, more than 0\.1"):
        check_decisions("forms", EXPECTED, differing(2, 6), 0.1, margins)


def test_most_may_not_differ_whatever_their_margins():
    assert check_decisions("forms", EXPECTED, differing(0, 1, 2, 3), 0.1, np.full(9, TIE)) < 1e-5
    with pytest.raises(EquivalenceError):
        check_decisions("forms", EXPECTED, differing(0, 1, 2, 3, 4), 0.1, np.full(9, TIE))


def test_facts_and_a_warning_where_many_differ(capsys):
    labels = np.argmax(EXPECTED, axis=1)
    other = EXPECTED.copy()
    other[4] = -other[4]
    margins = np.where(np.arange(9) == 4, TIE, np.inf)
    files = {"keras": EXPECTED, "tflite": other, "tflite_int8": other}
    facts = decision_facts(EXPECTED, files, margins, labels)
    ninth = pytest.approx(1 / 9)
    assert facts["near_ties"] == ninth
    assert facts["flips"] == {"keras": 0.0, "tflite": ninth, "tflite_int8": ninth}
    assert (facts["accuracy"]["model"], facts["accuracy"]["tflite"]) == (1.0, pytest.approx(8 / 9))
    # An int8 file is not the same sums: the table has its accuracy.
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: on 11.1% of 9 test pictures other channels win in the tflite file")
    assert line.endswith("it names 88.89% rightly, the model 100.00%")


def test_another_accuracy_is_said(capsys):
    assert compared_accuracies(0.9, 0.8991) == {"model": 0.9, "tflite": 0.8991}
    assert not capsys.readouterr().err
    compared_accuracies(0.9, 0.898)
    assert "the tflite file names 89.80% rightly, the model 90.00%" in capsys.readouterr().err
