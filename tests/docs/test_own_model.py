import json
import pathlib
import re
import runpy
import sys

import pytest

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "own_model.md").read_text()
NOTEBOOK, SCRIPT = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(compile(NOTEBOOK, "notebook", "exec"), found)
    result = found["pruned"].result
    assert 0.3 < result["pruned"]["macs"] / result["dense"]["macs"] <= 0.5
    assert pathlib.Path(result["files"]["pruned"]["tflite"]).is_file()
    assert found["small"].count_params() < found["model"].count_params()
    # Called again it returns what is finished.
    again = found["secateur"].prune(
        found["model"],
        (found["images"][:1400], found["labels"][:1400]),
        (found["images"][1400:], found["labels"][1400:]),
        nb_epochs=3,
        chn_target_macs=0.5,
    )
    assert again.result == result


@pytest.mark.parametrize("learner", ["chn-pruned", "dis-chn-pruned"])
def test_the_script(tmp_path, monkeypatch, learner):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynet_at_mydata_run.py").write_text(SCRIPT)
    short = ["--nb_epochs_rat=0.2"] + ["--dcp_nb_iters_block=2", "--dcp_nb_iters_layer=2", "--dcp_nb_stages=1"] * (
        learner == "dis-chn-pruned"
    )
    monkeypatch.setattr(sys, "argv", ["run", f"--learner={learner}", *short])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(tmp_path / "mynet_at_mydata_run.py"), run_name="__main__")
    assert stopped.value.code == 0
    (path,) = (tmp_path / "logs").glob(f"*_{learner}_*/result.json")
    result = json.loads(path.read_text())
    assert result["pruned"]["macs"] < result["dense"]["macs"]
    assert result["data"]["name"] == "my data"
