"""The gate for a network that decides picture by picture: its forms may decide a near-tie otherwise."""

import sys
from collections.abc import Mapping

import numpy as np

from secateur.export.equivalence import check_equivalence, share_of_flips
from secateur.export.formats import FORMATS, is_quantized

# Two sums of products that are nearer than this share of the products' size are a near-tie, which sums in another order
# may decide otherwise: behind 50 layers rounding makes up a quarter of it.
NEAR_TIE = 3e-5
# Where a float32 file decides more of the pictures otherwise than the model, the user is told.
MOST_FLIPS = 0.005
# And where its accuracy on all test pictures is another one.
MOST_ACCURACY = 0.001


def check_decisions(name: str, expected: np.ndarray, found: np.ndarray, tolerance: float, margins: np.ndarray) -> float:
    """`check_equivalence` of the median picture, and of every picture without a near-tie.

    Args:
        margins: how clear the least clear decision is for each picture, [N].

    Returns:
        The largest difference among the pictures without a near-tie; if all have one, the median picture's.

    Raises:
        EquivalenceError: as `check_equivalence`.
    """
    median, clear = check_equivalence(name, expected, found, tolerance, quantile=0.5), margins > NEAR_TIE
    return check_equivalence(name, expected, found, tolerance, among=clear) if clear.any() else median


def compared_accuracies(model: float, tflite: float) -> dict[str, float]:
    """The accuracies on all test pictures for a result; prints a line where they differ too much."""
    if abs(model - tflite) > MOST_ACCURACY:
        print(
            f"warning: on all test pictures the tflite file names {tflite:.2%} rightly, the model {model:.2%}, because "
            "near-ties are decided otherwise",
            file=sys.stderr,
        )
    return {"model": model, "tflite": tflite}


def decision_facts(
    expected: np.ndarray, logits: Mapping[str, np.ndarray], margins: np.ndarray, labels: np.ndarray
) -> dict:
    """What a result says of the checked pictures; prints a line for each float32 file that differs on many of them.

    Args:
        expected: the model's logits, [N, K].
        logits: those of the files by format.

    Returns:
        {"near_ties": share of the pictures that have one, "flips": {format: share on which the file differs},
        "accuracy": {"model" or format: share of right answers}}.
    """
    flips = {key: share_of_flips(expected, found, FORMATS[key].tolerance) for key, found in logits.items()}
    found = {"model": expected, **logits}
    accuracy = {key: float(np.mean(np.argmax(rows, axis=1) == labels)) for key, rows in found.items()}
    for key, share in flips.items():
        if share > MOST_FLIPS and not is_quantized(key):
            print(
                f"warning: on {share:.1%} of {len(labels)} test pictures other channels win in the {key} file than in "
                f"the model; of all it names {accuracy[key]:.2%} rightly, the model {accuracy['model']:.2%}",
                file=sys.stderr,
            )
    return {"near_ties": float(np.mean(margins <= NEAR_TIE)), "flips": flips, "accuracy": accuracy}
