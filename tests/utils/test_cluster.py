import json
import subprocess

import pytest

from secateur.utils import cluster
from secateur.utils.errors import RunError

SLURM = {
    cluster.MARK: "slurm",
    "SLURM_JOB_ID": "31234",
    "SLURM_STEP_NODELIST": "n1,n7",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}
KUBERNETES = {
    cluster.MARK: "kubernetes",
    "SECATEUR_JOB": "prune",
    "SECATEUR_WORKERS": "3",
    "JOB_COMPLETION_INDEX": "1",
}


def test_slurms_ranks_go_through_the_nodes_in_blocks():
    found = cluster.worker_environment(SLURM)
    place = json.loads(found["TF_CONFIG"])
    assert place["cluster"]["worker"] == ["n1:22176", "n1:22177", "n7:22178"]
    assert place["task"] == {"type": "worker", "index": 2}
    assert found["LOCAL_RANK"] == "0"


def test_a_range_of_nodes_is_expanded_by_slurm(monkeypatch):
    def scontrol(command, **_):
        assert command == ["scontrol", "show", "hostnames", "n[1-2]"]
        return subprocess.CompletedProcess(command, 0, "n1\nn2\n", "")

    monkeypatch.setattr(cluster.subprocess, "run", scontrol)
    wide = SLURM | {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_PROCID": "1"}
    assert json.loads(cluster.worker_environment(wide)["TF_CONFIG"])["cluster"]["worker"] == ["n1:22176", "n2:22177"]


@pytest.mark.parametrize(("text", "counts"), [("1", [1]), ("2(x3),1", [2, 2, 2, 1]), ("4,2(x2)", [4, 2, 2])])
def test_tasks_per_node(text, counts):
    assert cluster.tasks_per_node(text) == counts


def test_pods_find_each_other_by_the_names_of_the_service():
    place = json.loads(cluster.worker_environment(KUBERNETES)["TF_CONFIG"])
    assert place["cluster"]["worker"] == [f"prune-{k}.prune:{cluster.PORT}" for k in range(3)]
    assert place["task"]["index"] == 1


def test_a_single_worker_needs_nothing():
    alone = SLURM | {"SLURM_STEP_NODELIST": "n1", "SLURM_STEP_TASKS_PER_NODE": "1", "SLURM_PROCID": "0"}
    assert cluster.worker_environment(alone) == {}
    assert cluster.worker_environment(KUBERNETES | {"SECATEUR_WORKERS": "1", "JOB_COMPLETION_INDEX": "0"}) == {}


def test_an_unknown_cluster_is_refused():
    with pytest.raises(RunError, match="SECATEUR_CLUSTER=moon: must be slurm or kubernetes"):
        cluster.worker_environment({cluster.MARK: "moon"})


def test_what_makes_a_process_a_worker(monkeypatch):
    monkeypatch.delenv(cluster.MARK, raising=False)
    assert not cluster.is_worker()
    monkeypatch.setenv(cluster.MARK, "slurm")
    assert cluster.is_worker()


def test_a_node_without_slurms_programs_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RunError, match=r"scontrol show hostnames n\[1-2\] fails .*put Slurm's programs on the PATH"):
        cluster.worker_environment(SLURM | {"SLURM_STEP_NODELIST": "n[1-2]"})


def test_neighbouring_jobs_of_a_node_have_other_ports():
    ports = []
    for number in range(31_234, 31_244):
        place = SLURM | {"SLURM_JOB_ID": str(number)}
        workers = json.loads(cluster.worker_environment(place)["TF_CONFIG"])["cluster"]["worker"]
        ports += [address.rpartition(":")[2] for address in workers]
    assert len(set(ports)) == len(ports)
