"""A job for Slurm: one task to a worker, on as many nodes as Slurm takes for them, requeued when preempted."""

import pathlib
import shlex
import signal
import sys

from secateur.utils.cluster import MARK, Job

# Before the end of the time limit SIGTERM comes, so that a checkpoint can be written.
SECONDS_TO_SAVE = 120


def submission(job: Job) -> tuple[list[str], str]:
    """The command, and the script that it reads from its standard input."""
    return ["sbatch"], script(job)


def script(job: Job) -> str:
    """What `sbatch` runs, with a log for each rank.

    A task that fails ends the others. A job that was preempted, or whose node failed, is requeued by Slurm, one whose
    time is up by its own script; it goes on from its checkpoint. `scancel` ends the script too. The project, its
    environment and all folders must be on a file system that all nodes see.
    """
    options = [
        f"--job-name={job.name}",
        f"--ntasks={job.nb_workers}",
        *(["--gpus-per-task=1"] if job.device == "gpu" else []),
        "--distribution=block",
        "--requeue",
        "--open-mode=append",
        f"--signal=TERM@{SECONDS_TO_SAVE}",
        f"--chdir={pathlib.Path.cwd()}",
        "--output=%x-%j.out",
        *job.options,
    ]
    command = [sys.executable, "-m", "secateur.utils.launch", f"--device={job.device}", str(job.script)]
    task = shlex.join([*command, *job.arguments])
    told_to_end = 128 + signal.SIGTERM
    lines = [
        "#!/bin/bash",
        *[f"#SBATCH {option}" for option in options],
        f"export {MARK}=slurm",
        f"srun --kill-on-bad-exit=1 --open-mode=append --output=%x-%j_rank%t.out {task}",
        "code=$?",
        f'[ $code != {told_to_end} ] || scontrol requeue "$SLURM_JOB_ID"',
        "exit $code",
    ]
    return "\n".join(lines) + "\n"
