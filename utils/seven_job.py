"""A job for `seven`, the cluster of the predecessor: its client takes a `seven.yaml` and the folder of the code."""

import json
import pathlib
import shlex

from secateur.utils.cluster import Job
from secateur.utils.errors import UsageError
from secateur.utils.launch import ROOT

IMAGE = "tensorflow/tensorflow:2.21.0-gpu"


def submission(job: Job) -> tuple[list[str], str]:
    """The client's command, and the configuration, for `path_of(job)`. The workers of a job share one machine.

    Raises:
        UsageError: a script outside of the project, which is all that the client sends.
    """
    conf = str(path_of(job))
    command = ["seven", "create", "-cluster", "dev", "-conf", conf, "-code", str(ROOT), "-name", job.name]
    return command, configuration(job)


def path_of(job: Job) -> pathlib.Path:
    """Where the client is told to find the configuration, which it does not read from its standard input."""
    return pathlib.Path.cwd() / f"seven-{job.name}.yaml"


def configuration(job: Job) -> str:
    """`seven.yaml` as the predecessor wrote it, with the entry of this program; strings are quoted as in JSON."""
    script = job.script.resolve()
    if not script.is_relative_to(ROOT):
        raise UsageError(f"{script} is not sent with the project: save it under {ROOT / 'nets'}")
    words = [
        str(script.relative_to(ROOT)),
        f"-n={job.nb_workers}",
        *(["--device=cpu"] if job.device == "cpu" else []),
        *job.arguments,
    ]
    entry = f"scripts/run_local.sh {shlex.join(words)}"
    lines = [
        "version: 1",
        "kind: standalone",
        f"image: {json.dumps(job.image or IMAGE)}",
        "env:",
        '  - {name: "SEVEN_HTTP_FORWARD_PORT", value: "true"}',
        f'  - {{name: "NB_GPUS", value: "{job.nb_workers}"}}',
        *([f"resources: {{nvidia.com/gpu: {job.nb_workers}}}"] if job.device == "gpu" else []),
        f"command: {json.dumps(entry)}",
        *job.options,
    ]
    return "\n".join(lines) + "\n"
