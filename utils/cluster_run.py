"""Submits a script to the cluster that is there: `python -m secateur.utils.cluster_run [-n N] … SCRIPT [FLAGS]`.

`seven`, Slurm and Kubernetes, tried in that order. Folders that the flags name must be the same on all machines.
"""

import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from secateur.utils import kubernetes_job, seven_job, slurm_job
from secateur.utils.cluster import Job
from secateur.utils.errors import RunError, UsageError
from secateur.utils.files import write_atomically
from secateur.utils.launch import parse

USAGE = (
    "usage: run_seven.sh [-n N] [-j NAME] [--cluster=auto|seven|slurm|kubernetes] [--device=cpu|gpu] [--image=IMAGE] "
    "[--volume=CLAIM:/FOLDER]... [--option=TEXT]... [--dry_run] nets/<network>_at_<data>_run.py [flags of the script]"
)
OWN_FLAGS = {"-j": "name", "--job_name": "name", "--cluster": "cluster", "--image": "image"}
LISTS = {"--volume": "volumes", "--option": "options"}


class Cluster(NamedTuple):
    """A kind of cluster.

    Attributes:
        client: the command that must be there.
        submission: job to the command that submits it and what that reads from its standard input.
        takes: the fields of a job that only some clusters take, and this one does.
        file: where it reads that instead, if it does.
    """

    client: str
    submission: Callable[[Job], tuple[list[str], str]]
    takes: tuple[str, ...]
    file: Callable[[Job], pathlib.Path] | None = None


CLUSTERS = {
    "seven": Cluster("seven", seven_job.submission, ("image", "options"), seven_job.path_of),
    "slurm": Cluster("sbatch", slurm_job.submission, ("options",)),
    "kubernetes": Cluster("kubectl", kubernetes_job.submission, ("image", "volumes")),
}
FLAGS = {"image": "--image", "volumes": "--volume", "options": "--option"}


def job_of(argv: Sequence[str]) -> tuple[str, Job, bool]:
    """The kind of cluster asked for, the job, and whether it is only shown.

    Raises:
        UsageError: no script, an unknown cluster, a value that is missing.
    """
    own: dict[str, str] = {"name": "secateur", "cluster": "auto", "image": ""}
    lists: dict[str, list[str]] = {"volumes": [], "options": []}
    rest, words, dry_run = [], iter(argv), False
    for word in words:
        flag, separator, value = word.partition("=")
        if word == "--dry_run":
            dry_run = True
        elif flag in OWN_FLAGS:
            own[OWN_FLAGS[flag]] = value if separator else next(words, "")
        elif flag in LISTS:
            lists[LISTS[flag]].append(value if separator else next(words, ""))
        else:
            rest.append(word)
    try:
        launch = parse(rest)
    except UsageError as error:
        raise UsageError(str(error).partition(" usage:")[0] + f" {USAGE}") from None
    if own["cluster"] not in ("auto", *CLUSTERS):
        raise UsageError(f"--cluster={own['cluster']}: must be auto or one of {', '.join(CLUSTERS)}")
    kind = own.pop("cluster")
    device = "cpu" if launch.device == "cpu" else "gpu"
    return kind, Job(launch.script, launch.arguments, launch.nb_gpus, device, **own, **lists), dry_run


def refuse_what_is_not_taken(kind: str, job: Job) -> None:
    """Raises a UsageError for a flag of another kind of cluster."""
    for field, flag in FLAGS.items():
        if getattr(job, field) and field not in CLUSTERS[kind].takes:
            kinds = " or ".join(name for name, cluster in CLUSTERS.items() if field in cluster.takes)
            raise UsageError(f"{flag} is for {kinds}, and this job is for {kind}: leave it out, or choose --cluster")


def choose(kind: str) -> str:
    """The kind of cluster that is there.

    Raises:
        RunError: none is, or not the one asked for.
    """
    wanted = CLUSTERS if kind == "auto" else (kind,)
    for name in wanted:
        if shutil.which(CLUSTERS[name].client):
            return name
    clients = ", ".join(f"{CLUSTERS[name].client} ({name})" for name in wanted)
    raise RunError(f"no cluster on this machine: none of {clients} is there. scripts/run_local.sh runs on this machine")


def main(argv: Sequence[str]) -> int:
    """Submit the job; the exit code of the cluster's client."""
    if {"-h", "--help"} & set(argv[:1]):
        print(USAGE)
        return 0
    try:
        kind, job, dry_run = job_of(argv)
        kind = kind if dry_run and kind != "auto" else choose(kind)
        refuse_what_is_not_taken(kind, job)
        command, text = CLUSTERS[kind].submission(job)
        file = CLUSTERS[kind].file
        if file and not dry_run:
            write_atomically(file(job), text.encode())
    except (UsageError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    if dry_run:
        print(f"{' '.join(command)}\n{text}", end="")
        return 0
    return subprocess.run(command, input=None if file else text, text=True).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
