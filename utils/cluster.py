"""A job for a cluster, and how its workers find each other."""

import json
import os
import pathlib
import re
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

from secateur.utils.errors import RunError

# The variable that says which cluster's own variables a worker reads.
MARK = "SECATEUR_CLUSTER"
PORT = 20_000
PORTS_OF_A_JOB = 64


class Job(NamedTuple):
    """What is submitted.

    Attributes:
        script, arguments: as for `run_local.sh`.
        nb_workers: processes, one to a GPU.
        device: "gpu" or "cpu".
        name: of the job.
        image: of the containers, where the cluster runs containers.
        volumes: `CLAIM:/FOLDER`, for Kubernetes.
        options: more lines for the scheduler, such as "--partition=long" for Slurm.
    """

    script: pathlib.Path
    arguments: list[str]
    nb_workers: int
    device: str
    name: str
    image: str = ""
    volumes: tuple[str, ...] | list[str] = ()
    options: tuple[str, ...] | list[str] = ()


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`TF_CONFIG` and `LOCAL_RANK` from what the cluster tells its processes; nothing for a single one.

    Raises:
        RunError: a cluster that is not known.
    """
    kind = environment[MARK]
    if kind == "slurm":
        rank, local_rank, addresses = _slurm(environment)
    elif kind == "kubernetes":
        rank, local_rank, addresses = _kubernetes(environment)
    else:
        raise RunError(f"{MARK}={kind}: must be slurm or kubernetes")
    if len(addresses) == 1:
        return {}
    place = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    return {"TF_CONFIG": json.dumps(place), "LOCAL_RANK": str(local_rank)}


def _slurm(environment: Mapping[str, str]) -> tuple[int, int, list[str]]:
    """Ranks go through the nodes in blocks, as the job script asks; each has a port of its own, on whatever node."""
    hosts = _hosts(environment["SLURM_STEP_NODELIST"])
    counts = tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
    # Jobs that share a node have mostly numbers close to each other.
    first = PORT + int(environment["SLURM_JOB_ID"]) % 150 * PORTS_OF_A_JOB
    places = [host for host, count in zip(hosts, counts, strict=True) for _ in range(count)]
    addresses = [f"{host}:{first + rank}" for rank, host in enumerate(places)]
    return int(environment["SLURM_PROCID"]), int(environment["SLURM_LOCALID"]), addresses


def _hosts(nodes: str) -> list[str]:
    """The names behind Slurm's `n[0-1]`."""
    if "[" not in nodes:
        return nodes.split(",")
    command = ["scontrol", "show", "hostnames", nodes]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError) as error:
        raise RunError(f"{' '.join(command)} fails ({error}): put Slurm's programs on the PATH of its nodes") from error


def tasks_per_node(text: str) -> list[int]:
    """Slurm's `2(x3),1` as [2, 2, 2, 1]."""
    found: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        found += [int(count)] * int(times or 1)
    return found


def _kubernetes(environment: Mapping[str, str]) -> tuple[int, int, list[str]]:
    """The pods of an indexed job have names of their own in its headless service."""
    name, size = environment["SECATEUR_JOB"], int(environment["SECATEUR_WORKERS"])
    addresses = [f"{name}-{k}.{name}:{PORT}" for k in range(size)]
    return int(environment["JOB_COMPLETION_INDEX"]), 0, addresses


def is_worker() -> bool:
    """Whether a cluster started this process."""
    return MARK in os.environ
