"""A whole run on folders of pictures, from the command line."""

import json

import numpy as np
import pytest
import tensorflow as tf

from secateur.nets import resnet_at_folder_run as script
from secateur.nets import runner

SHORT = ["--resnet_size=8", "--image_size=32", "--batch_size=8", "--nb_epochs_rat=0.05", "--noenbl_layer_latency"]
DCP = ["--dcp_nb_stages=1", "--dcp_nb_smpls=16", "--dcp_nb_iters_block=2", "--dcp_nb_iters_layer=2"]


@pytest.fixture
def folder(tmp_path):
    """Two classes of noise, dark and bright, of several sizes and both kinds of file."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 4)):
        for label, name in enumerate(("dark", "bright")):
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(count):
                image = generator.integers(100 * label, 100 * label + 90, (*generator.integers(30, 60, 2), 3))
                encode, suffix = (tf.io.encode_png, "png") if k % 2 else (tf.io.encode_jpeg, "jpg")
                path = tmp_path / part / name / f"{k}.{suffix}"
                path.write_bytes(encode(image.astype(np.uint8)).numpy())
    return tmp_path


def test_a_run_to_its_end_and_the_same_command_again(folder, tmp_path_factory, capsys):
    out = tmp_path_factory.mktemp("out")
    argv = [f"--data_dir_local={folder}", f"--log_dir={out / 'logs'}", f"--save_path={out / 'models'}", *SHORT, *DCP]
    argv += ["--learner=dis-chn-pruned", "--export_formats=tflite_int8"]
    shown = []
    for extra in ([], [], ["--exec_mode=eval"]):
        with pytest.raises(SystemExit) as stopped:
            runner.main(script.task, script.Flags, [*argv, *extra])
        assert stopped.value.code == 0
        shown.append(capsys.readouterr())
    assert "MACs" in shown[1].out
    assert shown[0].out.endswith(shown[1].out)
    assert "prune1" not in shown[1].err
    (path,) = (out / "logs").glob("*_dis-chn-pruned_*/result.json")
    result = json.loads(path.read_text())
    assert (result["data"]["train"], result["data"]["test"]) == (16, 8)
    assert result["pruned"]["macs"] < 0.7 * result["dense"]["macs"]
    assert 0 <= result["int8"]["accuracy"] <= 1
    assert f"pruned, Keras model: accuracy {result['pruned']['accuracy']:.4f}" in shown[2].out
    assert path.with_name("labels.txt").read_text().split() == ["bright", "dark"]
