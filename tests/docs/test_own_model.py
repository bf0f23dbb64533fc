import json
import pathlib
import re
import runpy
import shlex
import sys

import keras
import numpy as np
import pytest

from secateur.pruning import mask, rules, shrink

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "own_model.md").read_text()
NOTEBOOK, SCRIPT, LAYER = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
FLAGS = shlex.split(re.search(r"run_local\.sh nets/mynet_at_mydata_run\.py (.*)", TEXT)[1])


def test_the_notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(compile(NOTEBOOK, "notebook", "exec"), found)
    result = found["pruned"].result
    assert 0.3 < result["pruned"]["macs"] / result["dense"]["macs"] <= 0.5
    assert pathlib.Path(result["files"]["pruned"]["tflite"]).is_file()
    assert found["small"].count_params() < found["model"].count_params()
    # Called again, with the model from the file that the page speaks of, it returns what is finished.
    found["model"].save("my.keras")
    again = found["secateur"].prune(
        keras.models.load_model("my.keras"),
        (found["images"][:1400], found["labels"][:1400]),
        (found["images"][1400:], found["labels"][1400:]),
        nb_epochs=3,
        chn_target_macs=0.5,
    )
    assert again.result == result


@pytest.mark.parametrize(
    ("learner", "flags"),
    [
        ("chn-pruned", ["--learner", "chn-pruned"]),
        ("dis-chn-pruned", [*FLAGS, "--dcp_nb_iters_block=2", "--dcp_nb_iters_layer=2"]),
    ],
)
def test_the_script(tmp_path, monkeypatch, learner, flags):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynet_at_mydata_run.py").write_text(SCRIPT)
    monkeypatch.setattr(sys, "argv", ["run", *flags, "--nb_epochs_rat=0.2"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(tmp_path / "mynet_at_mydata_run.py"), run_name="__main__")
    assert stopped.value.code == 0
    (path,) = (tmp_path / "logs").glob(f"*_{learner}_*/result.json")
    result = json.loads(path.read_text())
    assert result["pruned"]["macs"] < result["dense"]["macs"]
    assert result["data"]["name"] == "my data"


def test_the_layer(monkeypatch, randomise):
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    found: dict = {}
    exec(compile(LAYER, "layer", "exec"), found)
    inputs = keras.Input((4, 4, 3))
    x = found["Gain"](5, name="gain")(keras.layers.Conv2D(5, 1, name="a")(inputs))
    model = randomise(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))))
    small, pictures = shrink(model, {"a": [1, 4]}), np.random.default_rng(0).normal(size=(3, 4, 4, 3))
    assert small.get_layer("gain").channels == 2
    np.testing.assert_allclose(small(pictures), mask(model, {"a": [1, 4]})(pictures), rtol=1e-4, atol=1e-5)
