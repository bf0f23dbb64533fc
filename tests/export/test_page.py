import keras
import pytest

from secateur.export import write_page
from tests.export.test_report import RESULT


@pytest.fixture
def written(tmp_path):
    """Writes the page of a result that differs so from the usual one."""
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3, name="conv")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    files = {"keras": "x/model.keras", "tflite": "x/model.tflite"}

    def write(**changes) -> str:
        result = RESULT | {"files": {"dense": files, "pruned": files}} | changes
        result = {name: value for name, value in result.items() if value is not None}
        write_page(tmp_path / "report.html", result, tmp_path, {"dense": model, "pruned": model})
        return (tmp_path / "report.html").read_text()

    return write


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [(0.895, "0.50 points lost"), (0.91, "1.00 points gained"), (0.9, "no point lost"), (0.90001, "no point lost")],
)
def test_the_verdict(written, accuracy, said):
    text = written(pruned=RESULT["pruned"] | {"accuracy": accuracy})
    assert f"<strong>2.00 times fewer multiply-accumulates, 2.00 times as fast, {said}.</strong>" in text


def test_a_dense_run_says_what_it_was_tested_on(written):
    text = written(pruned=None, data={"name": "Data, held out"})
    assert "90.00 % of the pictures right that it is tested on (Data, held out)." in text


def test_names_are_shown_as_they_are(written):
    text = written(task="<i>net</i>", learner="a&b", data={"name": "<b>data"}, commit="<u>", seconds={"a": 60.0})
    assert "<i>" not in text
    assert "<b>data" not in text
    assert "<u>" not in text
    assert "&lt;i&gt;net&lt;/i&gt;, a&amp;b, &lt;b&gt;data" in text
