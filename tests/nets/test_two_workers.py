"""Every learner on two workers, with synchronized norms, on a network with dropout; a whole run without them."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from secateur.learners import registry
from secateur.utils.workers import environments
from tests.nets.short_runs import SHORT, SHORT_DCP, folders, result_of

WORKER = """
import json, pathlib, sys
from secateur.training import parallel
parallel.init()
import keras, numpy as np
from secateur.learners import registry
from secateur.training.run import Run
from tests.nets.test_every_learner import NETWORKS, small_task
import dataclasses

folder = pathlib.Path(sys.argv[1])
flags = {
    "full-prec": {},
    "chn-pruned": {"chn_ranking": "sensitivity", "chn_nb_smpls": 8},
    "dis-chn-pruned": {"dcp_nb_stages": 1, "dcp_nb_smpls": 8},
    "fbs": {"fbs_density": 0.5, "fbs_density_step": 0.5, "fbs_nb_epochs_warm_up": 0.5},
    "fcf": {"fcf_prune_ratio": 0.5, "fcf_nb_epochs": 40},
    "stripe": {"stripe_nb_epochs": 1, "stripe_target_macs": 0.5, "stripe_from_scratch": True},
}
dense, found = folder / "dense.keras", {}
keras.utils.set_random_seed(0)
task = small_task(*NETWORKS["cifarnet"])
if parallel.is_primary():
    task.build_model().save(dense)
parallel.barrier()
runs = {name: name for name in registry.LEARNERS} | {"fcf, filter": "fcf"}
flags["fcf, filter"] = flags["fcf"] | {"fcf_scope": "filter", "fcf_form": "squeeze"}
for name, learner_name in runs.items():
    entry = registry.find(learner_name)
    # The primary worker, which alone writes files and measures, draws more random numbers than the others.
    keras.utils.set_random_seed(parallel.rank())
    with Run(folder / "logs" / name, {"learner": name}, sync_bn=True).open() as run:
        learner = entry.learner(entry.config(**flags[name]), dataclasses.replace(task, pretrained=dense), run)
        learner.train()
        found[name] = [float(np.abs(weight).sum()) for weight in learner.export().get_weights()]
    print(name, "is done", flush=True)
(folder / f"{parallel.rank()}.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict]:
    """The weights that each of two workers ends with, by learner."""
    folder = tmp_path_factory.mktemp("workers")
    logs = [folder / f"{rank}.log" for rank in (0, 1)]
    processes = []
    for log, environment in zip(logs, environments(["-1", "-1"]), strict=True):
        command = [sys.executable, "-c", WORKER, str(folder)]
        with log.open("w") as file:
            processes.append(subprocess.Popen(command, env=os.environ | environment, stdout=file, stderr=file))
    codes = [process.wait(600) for process in processes]
    assert codes == [0, 0], logs[codes.index(max(codes))].read_text()[-1500:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("learner", [*registry.LEARNERS, "fcf, filter"])
def test_both_workers_end_with_the_same_network(found, learner):
    assert found[0][learner]
    assert found[0][learner] == found[1][learner]


def test_a_whole_run_with_its_controls_and_norms_of_each_workers_own(tmp_path):
    script = str(pathlib.Path(__file__).resolve().parents[2] / "nets/resnet_at_digits_run.py")
    command = [sys.executable, "-m", "secateur.utils.launch", "-n=2", "--device=cpu", script, *SHORT, *SHORT_DCP]
    command += [*folders(tmp_path), "--learner=dis-chn-pruned", "--batch_size=350", "--noenbl_layer_latency"]
    done = subprocess.run([*command, "--enbl_same_budget", "--enbl_scratch"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    result = result_of(tmp_path, "dis-chn-pruned")
    assert {"dense_same_budget", "scratch", "dense", "pruned"} <= set(result)
    assert "dense, trained for as many epochs" in done.stdout
    # The second worker writes no files and prints nothing but its own log.
    assert len(list((tmp_path / "models").glob("*.keras"))) == 1
    assert list((tmp_path / "logs").glob("workers/*/rank_1.log"))
