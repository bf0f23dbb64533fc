import json
import pathlib

import pytest

from secateur.export import LiteModel
from secateur.pruning import ChannelGraph, cost
from secateur.training.pretrained import load_saved
from tests.tools.helpers import load

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = sorted((ROOT / "results").glob("*/result.json"))
# Larger files are not committed, the int8 ones of pruned networks are.
LARGE = 8_000_000
WHOLE = [path for path in RESULTS if path.with_name("model.keras").is_file()]


def test_the_table_is_that_of_the_committed_results():
    tool = load("results_table")
    for name, document in tool.PLACES.items():
        text = document.read_text()
        assert tool.replaced(text, name, tool.made(name)) == text


def test_models_that_are_not_committed_are_large_and_have_their_int8_form():
    for path in set(RESULTS) - set(WHOLE):
        result = json.loads(path.read_text())
        assert result.get("pruned", result["dense"])["tflite_bytes"] > LARGE, path
        assert path.with_name("command").is_file()
        if "pruned" in result:
            assert path.with_name("model_int8.tflite").stat().st_size == result["int8"]["tflite_bytes"]


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.parent.name)
def test_committed_models_are_those_that_were_measured(path):
    result = json.loads(path.read_text())
    own = result.get("pruned", result["dense"])
    model = load_saved(path.with_name("model.keras"))
    assert cost.params(model) == own["params"]
    # Of FBS the Keras model computes everything and multiplies; the file executes less.
    assert result["learner"] == "fbs" or cost.macs(model) == own["macs"]
    lite = path.with_name("model.tflite")
    assert lite.stat().st_size == own["tflite_bytes"]
    assert LiteModel(lite).input_shape == (1, *model.input_shape[1:])
    assert path.with_name("command").is_file()
    assert ChannelGraph(model).groups
    assert str(pathlib.Path.home()) not in path.read_text()
