"""Whole runs of two steps a stage."""

import json

import pytest

from secateur.nets import resnet_at_digits_run, runner

# Two steps of every stage: 1,437 pictures in batches of 700.
SHORT = ["--nb_epochs_rat=0.01", "--batch_size=700", "--resnet_size=8", "--mixed_precision=float32"]
SHORT_DCP = ["--dcp_nb_iters_block=2", "--dcp_nb_iters_layer=2", "--dcp_nb_stages=1", "--dcp_nb_smpls=700"]


def run(argv, make_task=resnet_at_digits_run.task, flags=resnet_at_digits_run.Flags) -> int:
    with pytest.raises(SystemExit) as stopped:
        runner.main(make_task, flags, argv)
    return stopped.value.code


def folders(tmp_path) -> list[str]:
    return [f"--log_dir={tmp_path / 'logs'}", f"--save_path={tmp_path / 'models'}"]


def result_of(tmp_path, learner: str) -> dict:
    (path,) = (tmp_path / "logs").glob(f"*_{learner}_*/result.json")
    return json.loads(path.read_text())
