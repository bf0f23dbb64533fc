"""A job for Kubernetes: an Indexed Job, whose pods find each other by the names of a headless Service."""

import json
import pathlib
import re

from secateur.utils.cluster import MARK, PORT, Job
from secateur.utils.errors import UsageError
from secateur.utils.launch import ROOT

# Where the Dockerfile puts the project.
HOME = "/opt/secateur"
# Of the user in the image.
USER = 1000
# So often a worker may fail; the next pod in its place goes on from the newest checkpoint.
BACKOFF_LIMIT = 100
# Of a command that cannot be carried out, however often.
USAGE_ERROR = 2
ENDS_AT_ONCE = {
    "action": "FailJob",
    "onExitCodes": {"containerName": "worker", "operator": "In", "values": [USAGE_ERROR]},
}
# Preempted, or its node was drained.
DOES_NOT_COUNT = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def submission(job: Job) -> tuple[list[str], str]:
    """The command, and the manifests that it reads from its standard input.

    Raises:
        UsageError: no image, no volume, a name that Kubernetes does not take, a volume that is not CLAIM:/FOLDER, or a
            script that the pods do not have.
    """
    if not job.image:
        raise UsageError("--image=IMAGE: name an image of the Dockerfile that the cluster can pull")
    if not job.volumes:
        raise UsageError(
            "--volume=CLAIM:/FOLDER: name a persistent volume claim for models, logs and checkpoints; what pods write "
            "elsewhere ends with them"
        )
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", job.name):
        raise UsageError(f"-j={job.name}: must be small letters, digits and -, at most 52")
    manifests = {"apiVersion": "v1", "kind": "List", "items": [_service(job), _job(job)]}
    # A Job cannot be changed, so one of a name that is taken is refused.
    return ["kubectl", "create", "-f", "-"], json.dumps(manifests, indent=1) + "\n"


def _service(job: Job) -> dict:
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"job-name": job.name}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": job.name}, "spec": spec}


def _job(job: Job) -> dict:
    volumes = [_volume(text) for text in job.volumes]
    pod = {
        "subdomain": job.name,
        "restartPolicy": "Never",
        # The group lets the image's user write to the volumes.
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, volumes)],
        "volumes": [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim, _ in volumes],
    }
    spec = {
        "completions": job.nb_workers,
        "parallelism": job.nb_workers,
        "completionMode": "Indexed",
        # One worker's fault ends all of them, and each counts.
        "backoffLimit": BACKOFF_LIMIT * job.nb_workers,
        "podFailurePolicy": {"rules": [ENDS_AT_ONCE, DOES_NOT_COUNT]},
        "template": {"metadata": {"labels": {"job-name": job.name}}, "spec": pod},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job.name}, "spec": spec}


def _container(job: Job, volumes: list[tuple[str, str]]) -> dict:
    environment = {MARK: "kubernetes", "SECATEUR_JOB": job.name, "SECATEUR_WORKERS": str(job.nb_workers)}
    return {
        "name": "worker",
        "image": job.image,
        # ./logs and ./models then lie on the first volume.
        "workingDir": volumes[0][1],
        "args": [f"--device={job.device}", _script(job.script, volumes), *job.arguments],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"containerPort": PORT}],
        "resources": {"limits": {"nvidia.com/gpu": "1"}} if job.device == "gpu" else {},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": claim, "mountPath": folder} for claim, folder in volumes],
    }


def _script(script: pathlib.Path, volumes: list[tuple[str, str]]) -> str:
    """Where a pod has the script: in the image, or on a volume that is mounted at the same folder here."""
    if script.resolve().is_relative_to(ROOT / "nets"):
        return f"{HOME}/{script.resolve().relative_to(ROOT)}"
    if any(script.absolute().is_relative_to(folder) for _, folder in volumes):
        return str(script.absolute())
    raise UsageError(
        f"{script} is not in the image: save it under nets/ and build the image again, or on a volume that is mounted "
        "at the same folder here and in the pods"
    )


def _volume(text: str) -> tuple[str, str]:
    claim, _, folder = text.partition(":")
    if not claim or not folder.startswith("/"):
        raise UsageError(f"--volume={text}: must be CLAIM:/FOLDER, a persistent volume claim and where it is mounted")
    return claim, folder
